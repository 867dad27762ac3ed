// One ModelInfer call that returns at its deadline, whatever the server does.
//
// gRPC's blocking call does not: while the socket to a server that has stopped reading is full, a
// cancelled call still waits for its bytes to leave. Such a call is abandoned instead: its caller
// goes on, and its memory is freed when gRPC is done with it.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <stop_token>

#include "proto/kserve.grpc.pb.h"
#include "shared/deadline.h"
#include "shared/status.h"

namespace inferpool::backend {

// How long a call is worth making.
struct CallLimits {
  Deadline deadline;
  std::stop_token departed = {};  // stopped when nobody waits for the answer any more
};

// The calls of one channel. Thread safe.
class InferCalls {
 public:
  explicit InferCalls(inference::GRPCInferenceService::StubInterface& stub);
  ~InferCalls();
  InferCalls(const InferCalls&) = delete;
  InferCalls& operator=(const InferCalls&) = delete;

  // Errors: the server's and gRPC's; CANCELLED when `departed` was stopped; UNAVAILABLE when too
  // many calls are abandoned, so that a hung server costs bounded memory.
  absl::StatusOr<inference::ModelInferResponse> Infer(const inference::ModelInferRequest& request,
                                                      const CallLimits& limits);

 private:
  struct Call;

  // Frees the abandoned calls that have ended. True when there is room for one more.
  bool Sweep();

  inference::GRPCInferenceService::StubInterface& stub_;
  std::mutex mutex_;
  std::list<std::unique_ptr<Call>> abandoned_;  // guarded by mutex_
};

}  // namespace inferpool::backend
