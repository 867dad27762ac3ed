// For threads that help with a part of a request.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <memory>

#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// Tells the crash handler (crash_handler.h) of the calling thread, which helps the lane's with its
// request until the end of the object's life: what crashes it is what its own `task` says. The
// master is told of it too: a helper without a processor is not stuck, and neither is its lane. At
// most kMaxHelpers of a lane's at a time.
class PartOwner {
 public:
  PartOwner(Lane& lane, const Seqlock<Task>& task);
  ~PartOwner();
  PartOwner(const PartOwner&) = delete;
  PartOwner& operator=(const PartOwner&) = delete;

 private:
  std::unique_ptr<std::byte[]> stack_;
  std::atomic<pid_t>* entry_ = nullptr;  // among the lane's helpers
};

}  // namespace inferpool::fcgi
