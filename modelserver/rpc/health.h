// grpc.health.v1: whether the server serves, asked once (Check) or watched (Watch).
//
// The library brings a service of its own, on its callback API. With that in a server, threads of
// that API poll beside ours, and every inference pays for their wake-ups. So this is ours.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>

#include "modelserver/rpc/call.h"
#include "proto/health.pb.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// Each watcher holds a thread; one more is RESOURCE_EXHAUSTED.
inline constexpr int kMaxWatchers = 64;

using HealthWatch = StreamingCall<grpc::ServerAsyncWriter<grpc::ByteBuffer>>;

// Thread safe. Knows the server ("") and its one service, "inference.GRPCInferenceService".
class HealthService {
 public:
  void SetServing(bool serving);

  // The watchers are told NOT_SERVING and let go, and no more come.
  void Shutdown();

  // NOT_FOUND for another service.
  grpc::Status Check(const grpc::health::v1::HealthCheckRequest& request,
                     grpc::health::v1::HealthCheckResponse& response);

  // The status now and at every change, until the client leaves. Another service is
  // SERVICE_UNKNOWN.
  grpc::Status Watch(HealthWatch& watch);

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  int watchers_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::modelserver
