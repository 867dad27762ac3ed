// Listening TCP sockets.
#pragma once

#include <string>

#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"

namespace inferpool {

struct TcpListen {
  std::string host;  // an IPv4 or IPv6 address, or a name
  std::string port;  // a number; 0: any port
  int backlog;
  bool ipv6_only = false;  // false: "::" takes IPv4 connections as well
};

// Listens on an address. The socket is non-blocking and close-on-exec, and the connections that it
// accepts send without delay (TCP_NODELAY).
//
// INVALID_ARGUMENT: there is no such address. ALREADY_EXISTS: another socket listens there.
// INTERNAL: the kernel refuses for another reason.
absl::StatusOr<FileDescriptor> ListenTcp(const TcpListen& where);

// Returns "host:port", with brackets around an IPv6 address.
std::string HostAndPort(const std::string& host, const std::string& port);

}  // namespace inferpool
