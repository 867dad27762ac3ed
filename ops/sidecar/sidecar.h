// The sidecar process: /livez, /readyz and /metrics on a port of their own, which answer whatever
// the workers are busy with. It reads the scoreboard and asks the model server itself.
#pragma once

#include <functional>

#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool::ops {

inline constexpr int kSidecarConnections = 128;

// Serves on `listener`, which the master makes, so that a port in use is known before anything is
// started and the port stays ours while the sidecar is restarted. Until SIGTERM, which must be
// blocked; calls `ready` when it does. On SIGUSR1, which must be blocked as well, it opens the log
// file again. For a process of its own: it starts threads and gRPC. Returns the exit status.
int RunSidecar(const Config& config, const Scoreboard& scoreboard, int listener,
               const std::function<void()>& ready);

}  // namespace inferpool::ops
