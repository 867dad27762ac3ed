// Records a worker's crash: which thread crashed, on which input, and where in the code.
//
// The handler runs in the crashing thread, in a signal context. It only writes to the scoreboard,
// and the master reads that when the process is gone. A signal that the thread caused itself (a bad
// access, abort()) is blamed on its request: the picture is quarantined before the process ends and
// nginx's connection closes. A signal from another process is not blamed on a request. When the
// master sends SIGABRT, the handler records the stacks of all threads.
#pragma once

#include <span>

#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// Handles SIGSEGV, SIGABRT, SIGBUS, SIGFPE and SIGILL from now on; a SIGBUS of memory that is
// guarded (shared/base/bus_error.h) is no crash. Call it once per worker process, before its
// threads start. The arguments must live until the process ends. `thread_slots` are those whose
// threads will have a ThreadCrashScope (crash_scope.h).
void InstallCrashHandler(WorkerSlot& slot, std::span<ThreadSlot> thread_slots, Pool& pool);

}  // namespace inferpool::fcgi
