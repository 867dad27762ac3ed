#include "fcgi/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "shared/config.h"

namespace inferpool::fcgi {
namespace {

absl::Status Failed(const std::string& path, int error) {
  return absl::InternalError(
      fmt::format("cannot listen on {}: {}", path, std::generic_category().message(error)));
}

void SetOption(const FileDescriptor& socket, int level, int option) {
  const int on = 1;
  setsockopt(socket.get(), level, option, &on, sizeof(on));
}

absl::StatusOr<FileDescriptor> ListenTcp(const std::string& text, int backlog) {
  const std::size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), text.c_str() + colon + 1, &hints, &found);
      error != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", text, gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, &freeaddrinfo);

  FileDescriptor listener(
      socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  SetOption(listener, SOL_SOCKET, SO_REUSEADDR);
  if (address->ai_family == AF_INET6) SetOption(listener, IPPROTO_IPV6, IPV6_V6ONLY);
  // Accepted connections have it too: an answer's last bytes wait for no acknowledgement.
  SetOption(listener, IPPROTO_TCP, TCP_NODELAY);
  if (bind(listener.get(), address->ai_addr, address->ai_addrlen) != 0 ||
      listen(listener.get(), backlog) != 0) {
    if (errno == EADDRINUSE) {
      return absl::AlreadyExistsError(fmt::format("{} is in use: somebody listens on it", text));
    }
    return Failed(text, errno);
  }
  return listener;
}

}  // namespace

absl::StatusOr<FileDescriptor> Listen(const std::string& socket, int backlog) {
  return IsTcp(socket) ? ListenTcp(std::string(TcpAddress(socket)), backlog)
                       : ListenUnix(socket, backlog);
}

absl::StatusOr<FileDescriptor> ListenUnix(const std::string& path, int backlog) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Failed(path, ENAMETOOLONG);
  path.copy(address.sun_path, path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);

  // Non-blocking: EAGAIN, from one whose backlog is full, is a sign of life as well.
  const FileDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(probe.get(), generic, sizeof(address)) == 0 || errno == EAGAIN) {
    return absl::AlreadyExistsError(
        fmt::format("{} is in use: another inferpool listens on it", path));
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return Failed(path, EEXIST);
    unlink(path.c_str());
  }

  FileDescriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The file is made with its final mode: there is no moment at which others could connect.
  const mode_t mask = umask(0117);
  const int bound = bind(listener.get(), generic, sizeof(address));
  const int error = errno;
  umask(mask);
  if (bound != 0) return Failed(path, error);
  if (listen(listener.get(), backlog) != 0) return Failed(path, errno);
  return listener;
}

}  // namespace inferpool::fcgi
