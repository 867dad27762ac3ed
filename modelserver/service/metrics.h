// The models' statistics as Prometheus text, on a port of its own.
#pragma once

#include <memory>
#include <string>

#include "modelserver/repository/repository.h"
#include "shared/base/status.h"

struct MHD_Daemon;

namespace inferpool::modelserver {

// Prometheus' text format 0.0.4, under Triton's names (nv_inference_...; labels model and version),
// and two histograms of our own: inferpool_model_request_seconds, inferpool_model_queue_seconds.
std::string Exposition(const Repository& repository);

// Answers GET /metrics on an address, on a thread of its own.
class MetricsServer {
 public:
  // `address` is host:port, with an IPv4 or IPv6 address or "localhost"; port 0: any. `repository`
  // must outlive the server. Error: UNAVAILABLE when it cannot listen, INVALID_ARGUMENT for an
  // address that makes no sense.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const Repository& repository,
                                                              const std::string& address);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // With the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  MetricsServer(MHD_Daemon* daemon, std::string address)
      : daemon_(daemon), address_(std::move(address)) {}

  MHD_Daemon* daemon_;
  std::string address_;
};

}  // namespace inferpool::modelserver
