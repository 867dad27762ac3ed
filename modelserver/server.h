// The service on its addresses: binds, serves on gRPC's threads, drains.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "modelserver/health.h"
#include "modelserver/repository.h"
#include "modelserver/service.h"
#include "shared/status.h"

namespace inferpool::modelserver {

// Largest message either way, as the workers' default (backend.message_mb): a tensor of 32 x 3 x
// 640 x 640 FP32 has 150 MiB.
inline constexpr int kMaxMessageBytes = 256 << 20;

// Threads of gRPC's. One serves a call, also while it waits; what waits is bounded (requests,
// streams, loads, watchers of the health), which leaves a thousand to calls that do not. A call
// past this bound would be RESOURCE_EXHAUSTED.
inline constexpr int kMaxThreads = static_cast<int>(kMaxRequests + kMaxStreams) + 1024;

class Server {
 public:
  // Listens on every address and serves `repository`, which must outlive the server. An address
  // is `unix:/path` or `host:port` (port 0: any). A unix socket gets mode 0660; a socket file that
  // nobody listens on is replaced. Error: INVALID_ARGUMENT for an address that makes no sense,
  // UNAVAILABLE for one that is in use or cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Repository& repository,
                                                       const std::vector<std::string>& addresses);

  // As Shutdown without time to spare.
  ~Server();

  // The addresses, with the ports that were chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // What grpc.health.v1 says of the server and its service; at first as the repository is ready.
  void SetReady(bool ready);

  // Takes no more calls, lets those in progress end until `grace` is over, cancels the rest, and
  // returns when they have ended. Unix sockets are removed. Once.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  explicit Server(Repository& repository) : service_(repository) {}

  Service service_;
  HealthService health_;
  std::vector<std::string> addresses_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace inferpool::modelserver
