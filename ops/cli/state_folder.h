// The state folder: whose it may be, and what is in it. A folder where others may write is refused:
// they could redirect our writes, perhaps root's, to other files.
#pragma once

#include <string>
#include <string_view>

#include "fcgi/pool/child.h"
#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool::ops {

// What to warn of when root has set no `user`.
inline constexpr std::string_view kRunsAsRoot =
    "everything runs as root, whom a flaw in any decoder would serve: set user in the "
    "configuration, or start inferpool as another user";

// Makes the folder, and those above it, or finds it there; a new one has mode 0750. It must belong
// to our user and be writable to nobody else; a folder of root's does for another user too, even if
// a group may write to it. Nobody else may be able to rename a folder above it.
// FAILED_PRECONDITION says what is wrong with it and what to do.
absl::Status MakeStateFolder(const std::string& path);

// `inferpool prepare`: makes the state folder with all that ops/run and nginx need in it, that is
// logs/, tmp/, tls/ and nginx.conf, and the folder in memory for nginx's temporary files; the
// certificate is the caller's. Returns the exit status.
int Prepare(const Config& config);

// What the children and nginx's workers, who run as `identity` and not as root, must be able to
// use: children/, the FastCGI socket, the log file. They may look into the state folder, logs/ and
// tmp/, and those stay ours.
absl::Status GiveTo(const fcgi::Identity& identity, const Config& config);

}  // namespace inferpool::ops
