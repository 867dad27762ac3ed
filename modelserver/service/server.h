// The service on its addresses: binds, serves, drains.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "modelserver/repository/repository.h"
#include "modelserver/rpc/health.h"
#include "modelserver/rpc/leader_follower_threads.h"
#include "modelserver/service/endpoints.h"
#include "modelserver/service/service.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct ServerOptions {
  // What ServerMetadata calls the server; UTF-8.
  std::string id = "triton";
  // Largest message either way, 1 to 2047 MiB; the default is the workers' (backend.message_mb): a
  // tensor of 32 x 3 x 640 x 640 FP32 has 150 MiB.
  int max_message_mb = 256;
};

// Calls in progress. What waits is bounded (requests, streams, loads, watchers of the health),
// which leaves a thousand to calls that do not. A call past this bound is RESOURCE_EXHAUSTED.
inline constexpr std::size_t kMaxCalls = kMaxRequests + kMaxStreams + 1024;

class Server {
 public:
  // Listens on every address and serves `repository`, which must outlive the server. An address
  // is `unix:/path` or `host:port` (port 0: any). A unix socket gets mode 0660; a socket file that
  // nobody listens on is replaced. Error: INVALID_ARGUMENT for an address that makes no sense,
  // UNAVAILABLE for one that is in use or cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Repository& repository,
                                                       const std::vector<std::string>& addresses,
                                                       const ServerOptions& options = {});

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
  Server(Repository& repository, std::string id) : service_(repository, std::move(id)) {}

  Service service_;
  HealthService health_;
  std::vector<std::string> addresses_;
  Endpoints endpoints_{service_, health_};
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<LeaderFollowerThreads> threads_;
  std::unique_ptr<CallLimit> limit_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace inferpool::modelserver
