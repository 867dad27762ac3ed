// What an ONNX file says of itself: its inputs and outputs, and its metadata. Nothing is run.
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
  std::vector<std::int64_t> shape;  // -1 where the file leaves the size open
};

struct OnnxFile {
  std::vector<OnnxTensor> inputs;  // without initializers
  std::vector<OnnxTensor> outputs;
  // Ultralytics' `names` and `imgsz`; often empty.
  std::vector<std::string> class_names;
  std::optional<UltralyticsSize> picture_size;
};

// Error: INVALID_ARGUMENT when the file cannot be read, is not ONNX, or has an input or output
// without a shape or with a datatype that KServe does not know.
absl::StatusOr<OnnxFile> ReadOnnxFile(const std::filesystem::path& file);

// Batch size of a model whose file leaves the batch open and whose configuration names none:
// Triton's default for completed configurations.
inline constexpr int kDefaultMaxBatchSize = 4;

// Completes what `config` leaves out, from the file:
//  - max_batch_size: when every input and output has an open first dimension, and the
//    configuration's tensors (if any) are written without it, kDefaultMaxBatchSize; else 0, and
//    the batch, if the file has one, is a dimension like the others. A file whose batch is fixed
//    to 1 can be served in batches all the same, when the configuration names a size: the engine
//    runs rows one by one.
//  - inputs and outputs, their data_type and dims. Inputs that are missing are added; outputs only
//    when there are none, as a configuration may serve a part of them. Where the file leaves a
//    picture's height and width open, they are its picture_size.
// Error: the configuration contradicts the file (a name, a datatype, a shape, a batch where the
// file's first dimension is fixed to more than 1), with both sides in the text.
absl::Status CompleteFromOnnx(const OnnxFile& onnx, inference::ModelConfig& config);

}  // namespace inferpool::modelserver
