#include "modelserver/engines/onnx/model_file.h"

#include <fstream>

namespace inferpool::modelserver::onnx_graph {

absl::StatusOr<onnx::ModelProto> ReadModelFile(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return InvalidArgument("{}: cannot be opened", file.string());
  }
  onnx::ModelProto model;
  if (!model.ParseFromIstream(&stream) || !model.has_graph()) {
    return InvalidArgument("{}: not an ONNX model", file.string());
  }
  return model;
}

}  // namespace inferpool::modelserver::onnx_graph
