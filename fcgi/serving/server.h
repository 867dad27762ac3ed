// A worker process's serving loop: a fixed set of threads, each of which accepts a connection,
// answers it and takes the next. A thread that is busy does not accept, so the kernel's backlog is
// the only queue, and load finds the idle worker by itself.
#pragma once

#include <functional>
#include <span>

#include "fcgi/wire/connection.h"
#include "fcgi/wire/request.h"
#include "shared/board/notice.h"
#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// Answers one request. Called from all threads at once; must not throw. The lane is the calling
// thread's, for counts of its own.
using Handler = std::function<Response(const Request&, Lane&)>;

// Where a worker works: its rows of the scoreboard, its share of the pool's heavy work, and the
// master's bell.
struct Station {
  Pool& pool;
  Slot& slot;
  std::span<Lane> lanes;  // one a thread
  const HeavyWork& heavy;
  const Notice& notice;
};

// Serves connections of `listener` with one thread a lane until SIGTERM; then stops accepting,
// answers every request that it has accepted, and returns. When the whole pool stops, what waits in
// the backlog is accepted first. Says in its slot that it is ready, that it is due once it has
// served its quota (and serves on), and that it drains. On SIGUSR1 it opens the log file again.
// SIGTERM and SIGUSR1 must be blocked in the calling thread.
void Serve(int listener, const ReadLimits& limits, const Handler& handler, const Station& station);

}  // namespace inferpool::fcgi
