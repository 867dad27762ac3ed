// The models' statistics as Prometheus text, on a port of their own.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "modelserver/repository/repository.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"
#include "shared/monitor/http_port.h"

namespace inferpool::modelserver {

// Prometheus' text format 0.0.4, under Triton's names (nv_inference_...; labels model and version,
// and reason where requests have failed), and two histograms of our own:
// inferpool_model_request_seconds, inferpool_model_queue_seconds.
std::string Exposition(const Repository& repository);

// Answers GET /metrics on an address, on a thread of its own, for as long as it exists.
class MetricsServer {
 public:
  // `address` is host:port, with an IPv4 or IPv6 address or "localhost"; port 0: any. `repository`
  // must outlive the server. Error: UNAVAILABLE when its thread cannot start, INVALID_ARGUMENT for
  // an address that makes no sense, and what ListenTcp (shared/base/listen.h) returns.
  static absl::StatusOr<MetricsServer> Start(const Repository& repository,
                                             const std::string& address);

  // With the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  MetricsServer(FileDescriptor listener, std::unique_ptr<monitor::HttpPort> port,
                std::string address)
      : listener_(std::move(listener)), port_(std::move(port)), address_(std::move(address)) {}

  FileDescriptor listener_;
  std::unique_ptr<monitor::HttpPort> port_;
  std::string address_;
};

}  // namespace inferpool::modelserver
