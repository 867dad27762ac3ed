// The arena that a worker's tensors lie in: one at a time, another when it is worn.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// Thread safe.
class ArenaPool {
 public:
  // Makes nothing yet. `arena_bytes`: what each of the at most two segments takes of /dev/shm.
  ArenaPool(std::string domain, std::size_t arena_bytes);

  // Returns a block of the present arena; an empty lease when there is no room, or no arena can be
  // made, which is tried again some seconds later. A worn arena is replaced here, but only after
  // the sweep has removed the one before it, so that calls which fail one after the other cannot
  // fill /dev/shm.
  Lease Allocate(std::size_t bytes, TimePoint now);

  // Lets go of the arena: its name's lock ends with its last lease.
  void Close();

 private:
  void Replace(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string domain_;
  const std::size_t arena_bytes_;

  Mutex mutex_;
  std::shared_ptr<Arena> arena_ ABSL_GUARDED_BY(mutex_);
  std::string predecessor_ ABSL_GUARDED_BY(mutex_);
  TimePoint next_try_ ABSL_GUARDED_BY(mutex_){};
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool::backend
