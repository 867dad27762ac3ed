// What the kernel has counted of a thread's time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>

namespace inferpool::fcgi {

struct ThreadTimes {
  std::chrono::nanoseconds run{};  // on a processor
  // It could run and had no processor: a busy machine, or a control group that has used up its
  // quota. A wait that has not ended yet is not counted.
  std::chrono::nanoseconds wait{};
  bool runnable = false;  // now: it runs or waits for a processor
};

// nullopt: there is no such thread, or the kernel does not count (no CONFIG_SCHED_INFO).
std::optional<ThreadTimes> ReadThreadTimes(pid_t process, pid_t thread);

}  // namespace inferpool::fcgi
