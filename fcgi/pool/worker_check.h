// What the master sees of a worker once a second.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <vector>

#include "fcgi/pool/step_watch.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool::fcgi {

// The requests that a worker has in work. One that has worked at a single step for longer than
// `limit` is stuck (step_watch.h); one that goes on, if slowly, is not, and neither is one whose
// threads had no processor.
//
// Not seen: a thread that sleeps because a thread without a thread slot, of gRPC or OpenCV, has no
// processor. A call to the model has a deadline of its own and ends by itself.
struct InWork {
  struct Stuck {
    int thread_slot;
    Task task;  // what is not known of it is empty
  };
  int busy = 0;
  std::vector<Stuck> stuck;
};

// Looks at a worker's thread slots at regular times. One for each worker process.
class WorkerStepWatch {
 public:
  using TimesOf = std::function<std::optional<ThreadTimes>(pid_t thread)>;

  // `late`: the time since the look before says nothing (step_watch.h).
  InWork Look(std::span<const ThreadSlot> thread_slots, const TimesOf& times_of,
              std::chrono::seconds limit, TimePoint now, bool late);

 private:
  std::vector<StepWatch> steps_;  // by thread slot
};

// True when the process is stopped (SIGSTOP, a debugger). Its requests are late because it is
// stopped, so none of them is stuck.
bool IsStopped(pid_t pid);

// The worker is over one of the bounds of `recycle` that only the master looks at: age and memory.
bool IsDue(const Config::Recycle& recycle, std::chrono::nanoseconds age, pid_t pid);

}  // namespace inferpool::fcgi
