// The unix socket between nginx and the pool.
#pragma once

#include <string>

#include "shared/file_descriptor.h"
#include "shared/status.h"

namespace inferpool::fcgi {

// Binds and listens on `path`, mode 0660, non-blocking, close-on-exec. A file left by a dead pool
// is replaced; a socket on which somebody still listens is ALREADY_EXISTS.
absl::StatusOr<FileDescriptor> ListenUnix(const std::string& path, int backlog);

}  // namespace inferpool::fcgi
