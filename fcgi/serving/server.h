// A worker process's serving loop. Each of a fixed set of threads accepts a connection, answers its
// request and accepts the next. A busy thread does not accept, so the kernel's backlog is the only
// queue, and new connections find an idle worker by themselves.
#pragma once

#include <functional>
#include <span>

#include "fcgi/wire/connection.h"
#include "fcgi/wire/request.h"
#include "shared/board/master_wakeup.h"
#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// Answers one request. All threads call it at the same time; it must not throw. The thread slot is
// the calling thread's own, for its counts.
using Handler = std::function<Response(const Request&, ThreadSlot&)>;

// What a worker needs of its pool: its rows of the scoreboard, its share of the heavy work, and the
// means to wake the master.
struct WorkerContext {
  Pool& pool;
  WorkerSlot& slot;
  std::span<ThreadSlot> thread_slots;  // one per thread
  const HeavyWork& heavy;
  const MasterWakeup& wakeup;
};

// Serves connections of `listener` with one thread per thread slot until SIGTERM. Then it stops
// accepting, answers every request that it has accepted, and returns. When the whole pool stops, it
// accepts the connections in the backlog first. Its slot says that it is ready, that it is due for
// replacement once it has served its quota (it goes on serving), and that it drains. SIGUSR1 opens
// the log file again. SIGTERM and SIGUSR1 must be blocked in the calling thread.
void Serve(int listener, const ReadLimits& limits, const Handler& handler,
           const WorkerContext& context);

}  // namespace inferpool::fcgi
