// Reads the parameters of a request that mean something to the server, with Triton's names and
// types.
#pragma once

#include <cstdint>

#include "modelserver/execution/model_executor.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Sets `priority` and `timeout` of `context`. The other parameters that Triton knows are checked
// and have no effect: sequence_id, sequence_start and sequence_end, because no model here batches
// sequences, and triton_enable_empty_final_response, because every request has one answer.
// Parameters with other names belong to the client and are ignored. INVALID_ARGUMENT when a known
// parameter has another type, the priority is negative, or an unknown name begins with "triton_".
absl::Status ReadParameters(const TensorParameters& parameters, InferContext& context);

// The number of classes that an output's parameter `classification` asks for; 0 when it is absent.
// INVALID_ARGUMENT when it has another type or is not positive.
absl::StatusOr<std::int64_t> ReadClassification(const TensorParameters& parameters);

}  // namespace inferpool::modelserver
