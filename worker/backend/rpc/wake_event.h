// Wakes the one thread that waits for it.
#pragma once

#include <condition_variable>
#include <stop_token>

#include "shared/base/mutex.h"

namespace inferpool::backend {

// Thread safe. A Wake() that nobody waits for is kept.
class WakeEvent {
 public:
  void Wake() {
    {
      const MutexLock lock(mutex_);
      woken_ = true;
    }
    changed_.notify_one();
  }

  // Waits for a Wake(); false when `stop` is stopped instead.
  bool Await(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (!changed_.wait(lock.native(), stop,
                       [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return woken_; })) {
      return false;
    }
    woken_ = false;
    return true;
  }

 private:
  Mutex mutex_;
  std::condition_variable_any changed_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool::backend
