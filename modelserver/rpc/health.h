// grpc.health.v1, which tells whether the server serves, once (Check) or at each change (Watch).
//
// gRPC's library has such a service, but on its callback API. The threads of that API would poll
// the same connections as ours, and each inference would pay for their wake-ups.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>

#include "modelserver/rpc/call.h"
#include "proto/health.pb.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// Each watcher holds a thread. One more than these is RESOURCE_EXHAUSTED.
inline constexpr int kMaxWatchers = 64;

using HealthWatch = StreamingCall<grpc::ServerAsyncWriter<grpc::ByteBuffer>>;

// Thread safe. It knows two names: "", which is the server, and "inference.GRPCInferenceService",
// its only service.
class HealthService {
 public:
  // Sets whether the server serves; at first it does not.
  void SetServing(bool serving);

  // Tells the watchers NOT_SERVING and ends their calls. The server never serves again.
  void Shutdown();

  // Answers with the present status; NOT_FOUND for another name.
  grpc::Status Check(const grpc::health::v1::HealthCheckRequest& request,
                     grpc::health::v1::HealthCheckResponse& response);

  // Sends the present status and each new one, until the client leaves or Shutdown is called. For
  // another name that is SERVICE_UNKNOWN.
  grpc::Status Watch(HealthWatch& watch);

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  int watchers_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::modelserver
