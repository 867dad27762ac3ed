// Completes the configuration of an ONNX model with what its file says. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "modelserver/config/ultralytics.h"
#include "modelserver/onnxruntime/session.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct OnnxDescription {
  std::vector<ort::TensorType> inputs;
  std::vector<ort::TensorType> outputs;
  // From Ultralytics' metadata `imgsz`, which other files do not have.
  std::optional<UltralyticsSize> picture_size = {};
};

// The max_batch_size of a model whose file leaves the batch open and whose configuration does not
// give one. It is Triton's default for completed configurations.
inline constexpr int kDefaultMaxBatchSize = 4;

// Completes what `config` leaves out with what the file says:
//  - max_batch_size. It is kDefaultMaxBatchSize when every input and output has an open first
//    dimension and the configuration's tensors, if it has any, are written without that dimension.
//    Otherwise, and always without `may_batch`, it is 0, and a batch in the file is a dimension
//    like the others. A configuration may give a max_batch_size for a file whose batch is fixed to
//    1 (RunsRowByRow).
//  - inputs and outputs with their data_type and dims. Missing inputs are added, but not those that
//    have a value in the file: such an input belongs to the model when the configuration lists it,
//    and a request may leave it out when the configuration says `optional`. Outputs are added only
//    when there are none, because a configuration may serve only some of them. Where the file
//    leaves a picture's height and width open, they are those of picture_size.
// INVALID_ARGUMENT, with both sides in the text, when the configuration contradicts the file: a
// name, a datatype, a shape, or a batch where the file's first dimension is fixed to more than 1;
// and for a tensor of a type that KServe does not have.
absl::Status CompleteFromOnnx(const OnnxDescription& file, bool may_batch,
                              inference::ModelConfig& config);

// Whether each row of a batch has to be run on its own, because an input or output that the
// completed configuration batches has a first dimension of 1 in the file.
bool RunsRowByRow(const OnnxDescription& file, const inference::ModelConfig& config);

// The sizes that the completed configuration gives to dimensions that the file leaves open, by the
// file's names for them, without the batch. INVALID_ARGUMENT when it gives one name two sizes.
absl::StatusOr<std::vector<std::pair<std::string, std::int64_t>>> NamedSizes(
    const OnnxDescription& file, const inference::ModelConfig& config);

// How the runtime is to load the model: the parameters intra_op_thread_count, inter_op_thread_count
// and execution_mode, and optimization.graph.level, which are those of Triton's ONNX backend.
// INVALID_ARGUMENT when one is out of range.
absl::StatusOr<ort::SessionSettings> SettingsOf(const inference::ModelConfig& config);

// Gives a configuration without an instance_group as many instances as `cores` allow with the
// threads that each of them uses.
void CompleteInstances(const ort::SessionSettings& settings, unsigned cores,
                       inference::ModelConfig& config);

}  // namespace inferpool::modelserver
