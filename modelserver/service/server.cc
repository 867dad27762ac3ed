#include "modelserver/service/server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

#include "shared/base/file_descriptor.h"
#include "shared/base/grpc_address.h"

namespace inferpool::modelserver {
namespace {

// Before it binds, gRPC unlinks any socket at the path, even one on which a server listens. So this
// checks first. It cannot tell two servers apart that start at the same time.
absl::Status CheckUnixPath(const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return InvalidArgument("a unix socket's path has 1 to {} characters: '{}'",
                           sizeof name.sun_path - 1, path);
  }
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
  if (!std::filesystem::exists(status)) {
    return absl::OkStatus();
  }
  if (!std::filesystem::is_socket(status)) {
    return InvalidArgument("{} is there and is no socket", path);
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  const FileDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Anything but a refusal means that a server listens; EAGAIN means that its backlog is full.
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 ||
      errno != ECONNREFUSED) {
    return absl::UnavailableError(fmt::format("{} is in use by another process", path));
  }
  return absl::OkStatus();
}

absl::Status CheckAddress(const std::string& address) {
  if (address.starts_with("unix:")) {
    return CheckUnixPath(std::string(UnixSocketPath(address)));
  }
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size() ||
      address.find_first_not_of("0123456789", colon + 1) != std::string::npos) {
    return InvalidArgument("'{}' is neither unix:/path nor host:port", address);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Repository& repository,
                                                      const std::vector<std::string>& addresses,
                                                      const ServerOptions& options) {
  std::unique_ptr<Server> server(new Server(repository, options));
  grpc::ServerBuilder builder;
  std::vector<int> ports(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    RETURN_IF_ERROR(CheckAddress(addresses[i]));
    // No TLS: the server is for workers on the same host or a trusted network, as Triton is.
    builder.AddListeningPort(GrpcAddress(addresses[i]), grpc::InsecureServerCredentials(),
                             &ports[i]);
  }
  server->endpoints_.Register(builder);
  server->queue_ = builder.AddCompletionQueue();
  builder.SetMaxReceiveMessageSize(options.max_message_mb << 20);
  builder.SetMaxSendMessageSize(options.max_message_mb << 20);
  // Otherwise a second server on the same port would silently take a part of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);

  const mode_t mask = umask(0117);
  server->server_ = builder.BuildAndStart();
  umask(mask);
  server->threads_ = std::make_unique<LeaderFollowerThreads>(*server->queue_);
  server->limit_.reset(new CallLimit{.threads = *server->threads_, .max_calls = kMaxCalls});
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (server->server_ == nullptr || ports[i] == 0) {
      return absl::UnavailableError(
          fmt::format("cannot listen on {}: in use, or not to be bound", addresses[i]));
    }
    server->addresses_.push_back(
        addresses[i].starts_with("unix:")
            ? addresses[i]
            : fmt::format("{}:{}", addresses[i].substr(0, addresses[i].rfind(':')), ports[i]));
  }
  server->endpoints_.Open(*server->limit_);
  server->SetReady(repository.Ready());
  return server;
}

void Server::SetReady(bool ready) {
  health_.SetServing(ready);
}

Server::~Server() {
  Shutdown(std::chrono::milliseconds(0));
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  if (server_ != nullptr) {
    health_.Shutdown();  // otherwise watchers would not hear of it before the grace is over
    server_->Shutdown(std::chrono::system_clock::now() + grace);
  }
  threads_.reset();
  server_.reset();  // removes unix sockets
}

}  // namespace inferpool::modelserver
