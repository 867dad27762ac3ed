// grpc.health.v1: whether the server serves, asked once (Check) or watched (Watch).
//
// The library brings a service of its own, on its callback API. With that in a server, threads of
// that API poll beside those of the synchronous one, and every inference pays for their wake-ups:
// an empty call took 1.3 times as much processor time (bench/wire, gRPC 1.51). So this is ours.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>

#include "proto/health.grpc.pb.h"

namespace inferpool::modelserver {

// Each watcher holds a thread; one more is RESOURCE_EXHAUSTED.
inline constexpr int kMaxWatchers = 64;

// Thread safe. Knows the server ("") and its one service, "inference.GRPCInferenceService".
class HealthService final : public grpc::health::v1::Health::Service {
 public:
  void SetServing(bool serving);

  // The watchers are told NOT_SERVING and let go, and no more come.
  void Shutdown();

  // NOT_FOUND for another service.
  grpc::Status Check(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override;

  // The status now and at every change, until the client leaves. Another service is
  // SERVICE_UNKNOWN.
  grpc::Status Watch(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::ServerWriter<grpc::health::v1::HealthCheckResponse>* writer) override;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  bool serving_ = false;
  bool shut_down_ = false;
  int watchers_ = 0;
};

}  // namespace inferpool::modelserver
