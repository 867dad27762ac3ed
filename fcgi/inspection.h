// What the master sees of a worker once a second.
#pragma once

#include <chrono>
#include <span>
#include <vector>

#include "shared/config.h"
#include "shared/scoreboard.h"

namespace inferpool::fcgi {

// The requests that a worker has in work. One that has been at a single step for longer than
// `limit` counts as stuck; one that goes on, if slowly, does not.
struct InWork {
  int busy = 0;
  std::vector<Task> stuck;  // what is not known of a task is empty
};
InWork Inspect(std::span<const Lane> lanes, std::chrono::seconds limit, TimePoint now);

// The process is stopped (SIGSTOP, a debugger): what it has in work waits for it, not it for that.
bool IsStopped(pid_t pid);

// The worker is over one of the bounds of `recycle` that only the master looks at: age and memory.
bool IsDue(const Config::Recycle& recycle, std::chrono::nanoseconds age, pid_t pid);

}  // namespace inferpool::fcgi
