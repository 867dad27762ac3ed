// `reshape` in a model's configuration: the engine sees a tensor in another shape than clients do,
// of the same elements in the same order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// `config` with the shapes that the engine sees: a reshape's in place of the dims, and no reshape.
// Error: INVALID_ARGUMENT for one that does not have the elements of its dims, each -1 of the one
// standing for that of the other.
absl::StatusOr<inference::ModelConfig> EngineConfig(inference::ModelConfig config);

// The opposite: what the backend has completed of EngineConfig(`configured`), with the dims and
// reshapes of `configured`.
inference::ModelConfig ClientConfig(inference::ModelConfig completed,
                                    const inference::ModelConfig& configured);

using Dims = google::protobuf::RepeatedField<std::int64_t>;

// `shape`, which fits `from`, as `to` has it, after the batch if it has one. INTERNAL when it is
// not of `from`'s rank.
absl::StatusOr<std::vector<std::int64_t>> Reshaped(std::span<const std::int64_t> shape, bool batch,
                                                   const Dims& from, const Dims& to);

// Gives checked inputs, in the configuration's order, the shapes that the engine sees. Their memory
// is returned.
[[nodiscard]] std::vector<std::vector<std::int64_t>> ReshapeInputs(
    const inference::ModelConfig& config, std::span<TensorView> inputs);

}  // namespace inferpool::modelserver
