// The sidecar process: /livez, /readyz and /metrics on a port of their own, which answer whatever
// the workers are busy with. It reads the scoreboard and asks the model server itself.
#pragma once

#include <functional>

#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool::ops {

// Probes and scrapers hold few connections; more are refused.
inline constexpr int kSidecarConnections = 128;

// Serves on `listener` until SIGTERM and calls `ready` when it begins to. The master makes the
// listener, so it knows of a port in use before it starts anything, and the port stays ours while
// the sidecar is restarted. SIGUSR1 opens the log file again. Both signals must be blocked. Needs a
// process of its own, because it starts threads and gRPC. Returns the exit status.
int RunSidecar(const Config& config, const Scoreboard& scoreboard, int listener,
               const std::function<void()>& ready);

}  // namespace inferpool::ops
