#include "modelserver/rpc/health.h"

#include <optional>
#include <stop_token>
#include <string_view>

#include "modelserver/rpc/message.h"

namespace inferpool::modelserver {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

bool IsKnown(std::string_view service) {
  return service.empty() || service == "inference.GRPCInferenceService";
}

grpc::ByteBuffer Message(HealthCheckResponse::ServingStatus status) {
  HealthCheckResponse response;
  response.set_status(status);
  grpc::ByteBuffer message;
  Serialize(response, message);
  return message;
}

HealthCheckResponse::ServingStatus StatusOf(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

void HealthService::SetServing(bool serving) {
  const MutexLock lock(mutex_);
  serving_ = serving && !shut_down_;
  changed_.notify_all();
}

void HealthService::Shutdown() {
  const MutexLock lock(mutex_);
  serving_ = false;
  shut_down_ = true;
  changed_.notify_all();
}

grpc::Status HealthService::Check(const HealthCheckRequest& request,
                                  HealthCheckResponse& response) {
  if (!IsKnown(request.service())) {
    return {grpc::StatusCode::NOT_FOUND, "service name unknown"};
  }
  const MutexLock lock(mutex_);
  response.set_status(StatusOf(serving_));
  return grpc::Status::OK;
}

grpc::Status HealthService::Watch(HealthWatch& watch) {
  HealthCheckRequest request;
  if (!Parse(watch.request(), request)) {
    return NotParsed();
  }
  const bool known = IsKnown(request.service());
  const std::stop_token gone = watch.gone();
  // Constructed and destroyed without the lock, because the callback takes it.
  const std::stop_callback leave(gone, [this] {
    const MutexLock lock(mutex_);
    changed_.notify_all();
  });
  std::optional<HealthCheckResponse::ServingStatus> told;
  MutexLock lock(mutex_);
  if (watchers_ == kMaxWatchers) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watch the server's health"};
  }
  ++watchers_;
  while (!gone.stop_requested()) {
    const bool last = shut_down_;
    const auto status = known ? StatusOf(serving_) : HealthCheckResponse::SERVICE_UNKNOWN;
    if (status != told) {
      told = status;
      lock.Unlock();
      watch.Write(Message(status));
      lock.Lock();
    } else if (last) {
      break;
    } else {
      changed_.wait(lock.native());
    }
  }
  --watchers_;
  return gone.stop_requested()
             ? grpc::Status::CANCELLED
             : grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server shuts down");
}

}  // namespace inferpool::modelserver
