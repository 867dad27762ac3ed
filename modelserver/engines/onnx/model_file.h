// Reads an ONNX file.
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>

#include "shared/base/status.h"

namespace inferpool::modelserver::onnx_graph {

// INVALID_ARGUMENT when the file cannot be read or is not an ONNX model.
absl::StatusOr<onnx::ModelProto> ReadModelFile(const std::filesystem::path& file);

}  // namespace inferpool::modelserver::onnx_graph
