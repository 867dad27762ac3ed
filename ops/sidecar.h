// The sidecar process: /livez, /readyz and /metrics on a port of their own, which answer whatever
// the workers are busy with. It reads the scoreboard and asks the model server itself.
#pragma once

#include <functional>
#include <string>

#include "shared/config.h"
#include "shared/file_descriptor.h"
#include "shared/scoreboard.h"
#include "shared/status.h"

namespace inferpool::ops {

// A listening TCP socket; the master makes it, so that a port in use is known before anything is
// started and the port stays ours while the sidecar is restarted.
absl::StatusOr<FileDescriptor> ListenTcp(const std::string& address, int port);

// Serves on `listener` until SIGTERM, which must be blocked; calls `ready` when it does. On
// SIGUSR1, which must be blocked as well, it opens the log file again. For a process of its own: it
// starts threads and gRPC. Returns the exit status.
int RunSidecar(const Config& config, const Scoreboard& scoreboard, int listener,
               const std::function<void()>& ready);

}  // namespace inferpool::ops
