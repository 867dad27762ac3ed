// The parameters of a request that mean something to the server, as Triton takes them.
#pragma once

#include <cstdint>

#include "modelserver/execution/model_executor.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Fills in `priority` and `timeout` of `context`. The other names that Triton reserves are checked
// and change nothing: sequence_id, sequence_start and sequence_end, as no model here has
// sequence_batching (a Triton ignores them then), and triton_enable_empty_final_response, as every
// request has one answer. Names of the client's own are ignored. Error: INVALID_ARGUMENT for one of
// these with a value of another type, a negative priority, and any other name that begins with
// triton_.
absl::Status ReadParameters(const TensorParameters& parameters, InferContext& context);

// How many classes an output's parameter `classification` asks for; 0 when it is absent. Error:
// INVALID_ARGUMENT when it is of another type, or not positive.
absl::StatusOr<std::int64_t> ReadClassification(const TensorParameters& parameters);

}  // namespace inferpool::modelserver
