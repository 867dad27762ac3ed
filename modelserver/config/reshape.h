// Applies `reshape` of a model's configuration: the engine sees a tensor in another shape than
// clients do, with the same elements in the same order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Returns `config` as the engine sees it: each reshape has replaced the dims of its tensor.
// INVALID_ARGUMENT when a reshape does not have as many elements as the dims. A -1 in the reshape
// stands for the same size as the -1 at the same position among those of the dims.
absl::StatusOr<inference::ModelConfig> EngineConfig(inference::ModelConfig config);

// Returns the configuration that clients see: `completed`, which a backend has made of
// EngineConfig(configured), with the dims and reshapes of `configured`.
inference::ModelConfig ClientConfig(inference::ModelConfig completed,
                                    const inference::ModelConfig& configured);

using Dims = google::protobuf::RepeatedField<std::int64_t>;

// Reshapes `shape`, which fits the dims `from`, to the dims `to`. With `batch`, its first dimension
// is the batch and stays. INTERNAL when it does not have the number of dimensions that `from` has.
absl::StatusOr<std::vector<std::int64_t>> Reshaped(std::span<const std::int64_t> shape, bool batch,
                                                   const Dims& from, const Dims& to);

// Gives inputs that OrderInputs (request_check.h) has returned the shapes that the engine sees. The
// new shapes point into the returned vectors, which must live as long as they are used.
[[nodiscard]] std::vector<std::vector<std::int64_t>> ReshapeInputs(
    const inference::ModelConfig& config, std::span<TensorView> inputs);

}  // namespace inferpool::modelserver
