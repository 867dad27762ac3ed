// Wakes the one thread that waits for it.
#pragma once

#include <condition_variable>
#include <stop_token>

#include "shared/base/mutex.h"

namespace inferpool::backend {

// Thread safe. A ring that nobody waits for is kept.
class WakeEvent {
 public:
  void Ring() {
    {
      const MutexLock lock(mutex_);
      rung_ = true;
    }
    changed_.notify_one();
  }

  // Waits for a ring; false when `stop` is stopped instead.
  bool Await(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (!changed_.wait(lock.native(), stop,
                       [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return rung_; }))
      return false;
    rung_ = false;
    return true;
  }

 private:
  Mutex mutex_;
  std::condition_variable_any changed_;
  bool rung_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool::backend
