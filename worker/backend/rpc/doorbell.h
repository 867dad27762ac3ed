// Wakes the one thread that waits for it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace inferpool::backend {

// Thread safe. A ring that nobody waits for is kept.
class Doorbell {
 public:
  void Ring() {
    {
      const std::lock_guard lock(mutex_);
      rung_ = true;
    }
    changed_.notify_one();
  }

  // Waits for a ring; false when `stop` is stopped instead.
  bool Await(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [this] { return rung_; })) return false;
    rung_ = false;
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool rung_ = false;  // guarded by mutex_
};

}  // namespace inferpool::backend
