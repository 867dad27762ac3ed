// Whether a request fits a model's configuration: the INVALID_ARGUMENT row of WIRE.md's status
// table. Pure.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// The request's inputs in the configuration's order, checked: all there and no other, datatypes
// as configured, shapes that fit `dims` (-1 takes any size), one batch of 1 to max_batch_size.
// The views are those of `inputs`.
absl::StatusOr<std::vector<TensorView>> OrderInputs(const inference::ModelConfig& config,
                                                    const TensorList& inputs);

// The configuration's outputs that a request asks for, by index and in its order: `requested`, or
// all when it names none. Error: one that is not the model's, or is asked for twice.
absl::StatusOr<std::vector<int>> ChooseOutputs(const inference::ModelConfig& config,
                                               std::span<const std::string_view> requested);

// The shape clients see: `dims`, with -1 for the batch before it when the model batches.
std::vector<std::int64_t> WireShape(const inference::ModelConfig& config,
                                    const google::protobuf::RepeatedField<std::int64_t>& dims);

}  // namespace inferpool::modelserver
