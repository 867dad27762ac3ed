// The socket between nginx and the pool.
#pragma once

#include <string>

#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"

namespace inferpool::fcgi {

// Binds and listens on `path`, mode 0660, non-blocking, close-on-exec. A file left by a dead pool
// is replaced; a socket on which somebody still listens is ALREADY_EXISTS.
absl::StatusOr<FileDescriptor> ListenUnix(const std::string& path, int backlog);

// The same for "tcp:ADDRESS:PORT" with an IPv4 address or an IPv6 one in brackets, or a path.
// Whoever reaches a TCP port is believed: FastCGI knows neither passwords nor keys.
absl::StatusOr<FileDescriptor> Listen(const std::string& socket, int backlog);

}  // namespace inferpool::fcgi
