// The live process: what cameras' answers are now, and as they come, for as many as look at them.
// It reads the streams of results in Redis, answers below /v1/cameras on a Unix socket of its own,
// and takes no thread of a worker and no connection of the sidecar.
#pragma once

#include <functional>
#include <string>

#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool::live {

// Of which each has a thread, and of which most are streams of events.
inline constexpr int kConnections = 320;

// The socket's path.
inline std::string SocketPath(const Config& config) {
  return config.state + "/children/live.sock";
}

// Serves until SIGTERM and calls `ready` when it begins to. SIGUSR1 opens the log file again. Both
// signals must be blocked. Takes the socket's path over from a process that still serves, which
// then gets no new connections. Needs a process of its own, because it starts threads. Returns the
// exit status.
struct LiveStart {
  const Config& config;
  const Scoreboard& scoreboard;
  bool successor;  // it replaces one that still serves, so it must know keys where those are wanted
  ProcessRow& row;
};
int RunLive(const LiveStart& start, const std::function<void()>& ready);

}  // namespace inferpool::live
