// Checks a request against the configuration of its model. Pure.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Whether the request has that input of OrderInputs' list.
inline bool IsThere(const TensorView& input) {
  return input.datatype != inference::TYPE_INVALID;
}

// The number of rows of a request for a model that batches: the first dimension of its inputs.
std::int64_t RowsOf(std::span<const TensorView> inputs);

// Returns the request's inputs in the configuration's order; the views are those of `inputs`. An
// optional input of an ONNX model may be missing, and is then a view that is not there (IsThere).
// INVALID_ARGUMENT when an input is missing or is not the model's, its datatype is not the
// configured one, its shape does not fit `dims` (-1 stands for any size), or, for a model that
// batches, the inputs do not have the same number of rows from 1 to max_batch_size.
absl::StatusOr<std::vector<TensorView>> OrderInputs(const inference::ModelConfig& config,
                                                    const TensorList& inputs);

// Returns the outputs that a request asks for, as indices into the configuration's outputs and in
// the order of `requested`; all outputs in their order when `requested` is empty. INVALID_ARGUMENT
// for an output that the model does not have, or that is requested twice.
absl::StatusOr<std::vector<int>> ChooseOutputs(const inference::ModelConfig& config,
                                               std::span<const std::string_view> requested);

// Returns the shape that clients see: `dims`, after -1 for the batch when the model batches.
std::vector<std::int64_t> WireShape(const inference::ModelConfig& config,
                                    const google::protobuf::RepeatedField<std::int64_t>& dims);

}  // namespace inferpool::modelserver
