// The ModelInfer request for rows of a model's input, as one server is sent it.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "proto/kserve.pb.h"
#include "shared/base/priority.h"
#include "shared/base/status.h"
#include "worker/backend/catalog.h"
#include "worker/backend/infer_answer.h"
#include "worker/backend/request_batcher.h"
#include "worker/backend/shm/arena.h"
#include "worker/backend/shm/shared_regions.h"

namespace inferpool::backend {

struct InferRequest {
  grpc::ByteBuffer message;
  std::vector<OutputPlace> places;       // where the server is told to write outputs, if anywhere
  std::shared_ptr<Lease> output_memory;  // that all places are in; null without places
};

// The model's priority level for `priority`; 0: the request need not name one.
std::uint64_t PriorityLevel(const Model& model, Priority priority);

// Sets the request's parameter `priority`, as Triton's clients send it: older servers take no
// uint64_param, so it is one only where the level is no int64.
void SetPriorityLevel(inference::ModelInferRequest& request, std::uint64_t level);

// With kShared the message names the place of the rows, which are in an arena; outputs of a known
// size come back the same way if they find room in that arena. With kInline the message has the
// rows themselves, where they are. Errors: those of Encode (tensor_message.h).
absl::StatusOr<InferRequest> MakeInferRequest(const Model& model, const BatchInput& input,
                                              Priority priority, SharedRegions::Way way);

}  // namespace inferpool::backend
