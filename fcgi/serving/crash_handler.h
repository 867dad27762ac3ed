// What a worker leaves behind when it crashes: which thread did it, on what, and where it was.
//
// The handler runs in the crashing thread, in a signal context: it only writes to the scoreboard,
// which the master reads when the process is gone. A signal that the thread has brought upon itself
// (a bad access, abort()) is its request's doing, and the picture is quarantined before the
// process, and with it nginx's connection, ends. A signal sent by somebody else says nothing of any
// request. The master's SIGABRT asks for the stacks of all threads.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// For SIGSEGV, SIGABRT, SIGBUS, SIGFPE and SIGILL. Once a worker process, before its threads;
// everything must outlive the process. `lanes`: those that threads will enter.
void InstallCrashHandler(Slot& slot, std::span<Lane> lanes, Pool& pool);

// Makes the calling thread the lane's, with a stack of its own for the handler, until the end of
// the object's life.
class LaneOwner {
 public:
  explicit LaneOwner(Lane& lane);
  ~LaneOwner();
  LaneOwner(const LaneOwner&) = delete;
  LaneOwner& operator=(const LaneOwner&) = delete;

 private:
  std::unique_ptr<std::byte[]> stack_;
};

}  // namespace inferpool::fcgi
