// The two calls that tell a model server of a segment of shared memory, and of its end.
//
// They return at their deadline, whatever the server does (unary_call.h says why gRPC's blocking
// calls do not).
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "proto/kserve.grpc.pb.h"
#include "shared/deadline.h"
#include "shared/status.h"

namespace inferpool::backend {

// Of one server. Thread safe. Errors are the server's and gRPC's; UNAVAILABLE also when too many
// calls are still unanswered long after their deadlines.
class RegionCalls {
 public:
  explicit RegionCalls(inference::GRPCInferenceService::StubInterface& stub);
  ~RegionCalls();
  RegionCalls(const RegionCalls&) = delete;
  RegionCalls& operator=(const RegionCalls&) = delete;

  // The region `name` is all of the segment of that name.
  absl::Status Register(const std::string& name, std::uint64_t bytes, Deadline deadline);
  absl::Status Unregister(const std::string& name, Deadline deadline);

 private:
  struct Call;
  template <typename Response>
  struct CallOf;

  template <typename Response, typename Begin>
  absl::Status Make(const char* name, Deadline deadline, const Begin& begin);
  // Frees the abandoned calls that have ended. True when there is room for one more.
  bool FreeEnded();

  inference::GRPCInferenceService::StubInterface& stub_;
  std::mutex mutex_;
  std::list<std::unique_ptr<Call>> abandoned_;  // guarded by mutex_
};

}  // namespace inferpool::backend
