// The server: listens on its addresses, serves calls, and drains.
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
  // The server's name in ServerMetadata; UTF-8.
  std::string id = "triton";
  // The size of the largest message in either direction, 1 to 2047 MiB. The default is that of the
  // workers' key backend.message_mb. A tensor of 32 x 3 x 640 x 640 FP32 has 150 MiB.
  int max_message_mb = 256;
  // Whether clients may register their shared memory. Whoever reaches the server can then have it
  // open any segment that it may open.
  bool allow_client_shm = false;
};

// The number of calls in progress. Calls that wait have limits of their own (requests, streams,
// loads, health watchers), so about a thousand calls are left for those that do not wait, such as
// probes. One more call than these is RESOURCE_EXHAUSTED.
inline constexpr std::size_t kMaxCalls = kMaxRequests + kMaxStreams + 1024;

class Server {
 public:
  // Listens on every address and serves `repository`, which must outlive the server. An address is
  // `unix:/path` or `host:port`; port 0 stands for any free port. A unix socket gets mode 0660; a
  // socket file on which nobody listens is replaced. INVALID_ARGUMENT when an address has neither
  // form, or its path is too long or is another file; UNAVAILABLE when it is in use or cannot be
  // bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Repository& repository,
                                                       const std::vector<std::string>& addresses,
                                                       const ServerOptions& options = {});

  // Shuts down without a grace.
  ~Server();

  // The addresses. Port 0 is replaced by the port that was chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // Sets what grpc.health.v1 says of the server and its service. At first it is the repository's
  // Ready().
  void SetReady(bool ready);

  // Takes no more calls, gives those in progress `grace` to end, cancels the rest, and returns when
  // all have ended. Removes unix sockets. To be called once.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  Server(Repository& repository, const ServerOptions& options)
      : service_(repository, options.id, options.allow_client_shm) {}

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
