// The arena that a worker's tensors lie in: one at a time, another when it is worn.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "shared/base/deadline.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// Thread safe.
class ArenaPool {
 public:
  // Makes nothing yet. `arena_bytes`: what each of the at most two segments takes of /dev/shm.
  ArenaPool(std::string domain, std::size_t arena_bytes);

  // A block of the present arena. A worn one is replaced here, but only once its own predecessor's
  // name is swept, so that calls which fail one after the other cannot fill /dev/shm. Of nothing
  // when there is no room or no arena can be made; the latter is tried again some seconds later.
  Lease Allocate(std::size_t bytes, TimePoint now);

  // Lets go of the arena: its name's lock ends with its last lease.
  void Close();

 private:
  void Replace(TimePoint now);

  const std::string domain_;
  const std::size_t arena_bytes_;

  std::mutex mutex_;
  std::shared_ptr<Arena> arena_;  // this and all below: guarded by mutex_
  std::string predecessor_;
  TimePoint next_try_{};
  bool closed_ = false;
};

}  // namespace inferpool::backend
