// The one gRPC channel between a worker and the model server, and the KServe v2 calls made on it.
//
// Make it after the fork and before threads (it sets an environment variable for gRPC). Thread
// safe: all threads of the worker share it. Every call carries a deadline. Errors keep the code
// that the server or gRPC gave: UNAVAILABLE when the server is away, DEADLINE_EXCEEDED when it is
// too slow, NOT_FOUND for an unknown model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "shared/deadline.h"
#include "shared/status.h"
#include "worker/backend/infer_call.h"
#include "worker/vision/model.h"

namespace inferpool::backend {

class Client {
 public:
  // `targets`: gRPC target names, at least one; several must be plain addresses ("ipv4:") and are
  // used in turn. `message_mb` bounds messages in both directions.
  Client(const std::vector<std::string>& targets, int message_mb);

  // OK when the server answers that it is ready.
  absl::Status ServerReady(Deadline deadline) const;

  // Names of the models that are ready, sorted, each once.
  absl::StatusOr<std::vector<std::string>> ReadyModels(Deadline deadline) const;

  absl::StatusOr<vision::ModelDescription> Describe(const std::string& model,
                                                    Deadline deadline) const;

  // Returns at the deadline at the latest, even when the server has stopped reading, and soon after
  // the client has left.
  absl::StatusOr<inference::ModelInferResponse> Infer(const inference::ModelInferRequest& request,
                                                      const CallLimits& limits) const;

 private:
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  std::unique_ptr<InferCalls> infer_calls_;
};

}  // namespace inferpool::backend
