#include "modelserver/health.h"

#include <chrono>
#include <optional>
#include <string_view>

namespace inferpool::modelserver {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// How long a client that has left keeps its thread.
constexpr std::chrono::milliseconds kCancelCheck{500};

bool IsKnown(std::string_view service) {
  return service.empty() || service == "inference.GRPCInferenceService";
}

HealthCheckResponse Response(HealthCheckResponse::ServingStatus status) {
  HealthCheckResponse response;
  response.set_status(status);
  return response;
}

HealthCheckResponse::ServingStatus StatusOf(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

void HealthService::SetServing(bool serving) {
  const std::lock_guard lock(mutex_);
  serving_ = serving && !shut_down_;
  changed_.notify_all();
}

void HealthService::Shutdown() {
  const std::lock_guard lock(mutex_);
  serving_ = false;
  shut_down_ = true;
  changed_.notify_all();
}

grpc::Status HealthService::Check(grpc::ServerContext* /*context*/,
                                  const HealthCheckRequest* request,
                                  HealthCheckResponse* response) {
  if (!IsKnown(request->service())) {
    return {grpc::StatusCode::NOT_FOUND, "service name unknown"};
  }
  const std::lock_guard lock(mutex_);
  *response = Response(StatusOf(serving_));
  return grpc::Status::OK;
}

grpc::Status HealthService::Watch(grpc::ServerContext* context, const HealthCheckRequest* request,
                                  grpc::ServerWriter<HealthCheckResponse>* writer) {
  const bool known = IsKnown(request->service());
  std::optional<HealthCheckResponse::ServingStatus> told;
  std::unique_lock lock(mutex_);
  if (watchers_ == kMaxWatchers) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watch the server's health"};
  }
  ++watchers_;
  bool here = true;
  while (here) {
    const bool last = shut_down_;
    const auto status = known ? StatusOf(serving_) : HealthCheckResponse::SERVICE_UNKNOWN;
    if (status != told) {
      told = status;
      lock.unlock();
      here = writer->Write(Response(status));
      lock.lock();
      continue;
    }
    if (last) break;
    changed_.wait_for(lock, kCancelCheck);
    here = !context->IsCancelled();
  }
  --watchers_;
  return here ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server shuts down")
              : grpc::Status::CANCELLED;
}

}  // namespace inferpool::modelserver
