// How long a request has been at one step, without the time for which its threads had no processor.
// Pure: it is told what the kernel counts and what time it is.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fcgi/pool/thread_times.h"
#include "shared/base/deadline.h"

namespace inferpool::fcgi {

struct ThreadSample {
  pid_t thread;
  std::optional<ThreadTimes> times;  // nullopt: not known
};

// Of one thread slot. A thread works while it runs and while it sleeps: a spin and a deadlock both
// add up. It does not work while it waits for a processor.
//
//   Between two looks  a thread that sleeps at the second look has worked for the time between
//                      them, less what the kernel added to its wait; one that is runnable then has
//                      worked only while it ran, because the kernel has not added the wait that
//                      goes on. A thread whose times are not known has worked all the time.
//   A late look        the pool was frozen or starved as a whole, its master too: only time on a
//                      processor counts.
//   A request          has worked for as long as the one of its threads that has worked least:
//                      while one is starved, the others may be waiting for it.
//
// So the result is never more than the true time. It is less by what passed before the first look
// at the step, and by what a thread slept between two looks at the second of which it was runnable.
class StepWatch {
 public:
  // The work at the step that began at `step` (any number that tells steps apart), since the first
  // look at it. `threads`: those at work on it now.
  std::chrono::nanoseconds Look(std::int64_t step, std::span<const ThreadSample> threads,
                                TimePoint now, bool late);

 private:
  struct Thread {
    pid_t thread;
    std::optional<ThreadTimes> latest;
    std::chrono::nanoseconds work{};
  };

  static std::chrono::nanoseconds Work(const std::optional<ThreadTimes>& before,
                                       const std::optional<ThreadTimes>& after,
                                       std::chrono::nanoseconds between, bool late);

  std::int64_t step_ = 0;
  TimePoint latest_look_{};
  std::vector<Thread> threads_;
};

}  // namespace inferpool::fcgi
