// Reads the inputs, outputs and metadata of an ONNX file, without running it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "modelserver/config/ultralytics.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct OnnxTensor {
  std::string name;
  inference::DataType datatype = inference::TYPE_INVALID;
  std::vector<std::int64_t> shape;  // -1 where the file does not give the size
};

struct OnnxFile {
  std::vector<OnnxTensor> inputs;  // without initializers
  std::vector<OnnxTensor> outputs;
  // From Ultralytics' metadata `names` and `imgsz`, which other files do not have.
  std::vector<std::string> class_names;
  std::optional<UltralyticsSize> picture_size;
};

// Reads an ONNX file. INVALID_ARGUMENT when it cannot be read, is not ONNX, or has an input or
// output without a shape or with a datatype that KServe does not have.
absl::StatusOr<OnnxFile> ReadOnnxFile(const std::filesystem::path& file);

// The max_batch_size of a model whose file leaves the batch open and whose configuration does not
// give one. It is Triton's default for completed configurations.
inline constexpr int kDefaultMaxBatchSize = 4;

// Completes what `config` leaves out with what the file says:
//  - max_batch_size. It is kDefaultMaxBatchSize when every input and output has an open first
//    dimension and the configuration's tensors, if it has any, are written without that dimension.
//    Otherwise it is 0, and a batch in the file is a dimension like the others. A configuration may
//    give a max_batch_size for a file whose batch is fixed to 1, because the engine runs the rows
//    one by one.
//  - inputs and outputs with their data_type and dims. Missing inputs are added. Outputs are added
//    only when there are none, because a configuration may serve only some of them. Where the file
//    leaves a picture's height and width open, they are those of picture_size.
// INVALID_ARGUMENT, with both sides in the text, when the configuration contradicts the file: a
// name, a datatype, a shape, or a batch where the file's first dimension is fixed to more than 1.
absl::Status CompleteFromOnnx(const OnnxFile& onnx, inference::ModelConfig& config);

}  // namespace inferpool::modelserver
