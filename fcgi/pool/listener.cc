#include "fcgi/pool/listener.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

#include "shared/base/listen.h"
#include "shared/config/config.h"

namespace inferpool::fcgi {
namespace {

absl::Status Failed(const std::string& path, int error) {
  return absl::InternalError(
      fmt::format("cannot listen on {}: {}", path, std::generic_category().message(error)));
}

// Of "ADDRESS:PORT", where an IPv6 address has brackets.
TcpListen Where(std::string_view text, int backlog) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return {.host = std::string(host),
          .port = std::string(text.substr(colon + 1)),
          .backlog = backlog,
          .ipv6_only = true};
}

}  // namespace

absl::StatusOr<FileDescriptor> Listen(const std::string& socket, int backlog) {
  return IsTcp(socket) ? ListenTcp(Where(TcpAddress(socket), backlog))
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
