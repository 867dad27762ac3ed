#include "shared/base/listen.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <system_error>

namespace inferpool {
namespace {

void SetOption(const FileDescriptor& socket, int level, int option, bool value) {
  const int number = value ? 1 : 0;
  setsockopt(socket.get(), level, option, &number, sizeof(number));
}

}  // namespace

absl::StatusOr<FileDescriptor> ListenTcp(const TcpListen& where) {
  const std::string name = HostAndPort(where.host, where.port);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(where.host.c_str(), where.port.c_str(), &hints, &found);
      error != 0) {
    return InvalidArgument("{} is no address: {}", name, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, &freeaddrinfo);

  FileDescriptor listener(
      socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  SetOption(listener, SOL_SOCKET, SO_REUSEADDR, true);
  if (address->ai_family == AF_INET6) {
    SetOption(listener, IPPROTO_IPV6, IPV6_V6ONLY, where.ipv6_only);
  }
  SetOption(listener, IPPROTO_TCP, TCP_NODELAY, true);
  if (bind(listener.get(), address->ai_addr, address->ai_addrlen) == 0 &&
      listen(listener.get(), where.backlog) == 0) {
    return listener;
  }
  if (errno == EADDRINUSE) {
    return absl::AlreadyExistsError(fmt::format("{} is in use: somebody listens on it", name));
  }
  return absl::InternalError(
      fmt::format("cannot listen on {}: {}", name, std::generic_category().message(errno)));
}

std::string HostAndPort(const std::string& host, const std::string& port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

}  // namespace inferpool
