// A TCP port that is listened on.
#pragma once

#include <string>

#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"

namespace inferpool {

// Binds `host`, an IPv4 or an IPv6 address or a name, and `port`, a number; 0: any port. The socket
// is non-blocking and close-on-exec, and connections that it accepts send without delay
// (TCP_NODELAY).
// "::" takes IPv4 connections as well, unless `ipv6_only`.
//
// INVALID_ARGUMENT: there is no such address. ALREADY_EXISTS: somebody listens there. INTERNAL: it
// cannot be listened on.
struct TcpListen {
  std::string host;
  std::string port;
  int backlog;
  bool ipv6_only = false;
};
absl::StatusOr<FileDescriptor> ListenTcp(const TcpListen& where);

// "host:port", with the brackets that an IPv6 address needs.
std::string HostAndPort(const std::string& host, const std::string& port);

}  // namespace inferpool
