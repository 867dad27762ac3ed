// How many calls may be made a second time: one for ten first ones, so that retries never become
// the load of a server that is in trouble.
#pragma once

#include <atomic>

namespace inferpool::backend {

// Thread safe. At any time the retries taken are at most a tenth of the calls, and ten.
class RetryBudget {
 public:
  // A first try is made.
  void CountCall() {
    int tenths = tenths_.load(std::memory_order_relaxed);
    while (tenths < kMost && !tenths_.compare_exchange_weak(tenths, tenths + 1)) {
    }
  }

  // False: it is spent.
  bool Take() {
    int tenths = tenths_.load(std::memory_order_relaxed);
    while (tenths >= kRetry) {
      if (tenths_.compare_exchange_weak(tenths, tenths - kRetry)) return true;
    }
    return false;
  }

 private:
  static constexpr int kRetry = 10;
  // A rare failure at little load finds something to begin with.
  static constexpr int kStart = 10 * kRetry;
  // Saved in quiet times for all the calls that a dying server takes with it at once.
  static constexpr int kMost = 100 * kRetry;

  std::atomic<int> tenths_ = kStart;
};

}  // namespace inferpool::backend
