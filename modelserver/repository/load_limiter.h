// Limits how many models are loaded at the same time, because each load takes a core and memory,
// and lets only one thread at a time load or unload the same model.
#pragma once

#include <condition_variable>
#include <set>
#include <string>
#include <utility>

#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

class LoadSlot;

// Thread safe.
class LoadLimiter {
 public:
  enum class Kind {
    kLoad,    // counts against `max_loads`
    kUnload,  // waits only for the model's other load or unload
  };

  // At most `max_loads` loads at a time; at most `max_waiting` callers that wait.
  LoadLimiter(int max_loads, int max_waiting) : max_loads_(max_loads), max_waiting_(max_waiting) {}

  // Waits until `model` may be loaded or unloaded. The limiter must outlive the slot. A thread must
  // not hold two slots. Error: UNAVAILABLE when `max_waiting` wait already.
  absl::StatusOr<LoadSlot> Take(const std::string& model, Kind kind);

 private:
  friend class LoadSlot;

  void Return(const std::string& model, Kind kind);

  const int max_loads_;
  const int max_waiting_;

  Mutex mutex_;
  std::condition_variable returned_;
  std::set<std::string> models_ ABSL_GUARDED_BY(mutex_);  // that are loaded or unloaded now
  int loads_ ABSL_GUARDED_BY(mutex_) = 0;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The right to load or unload one model, for as long as this lives.
class LoadSlot {
 public:
  ~LoadSlot() {
    if (limiter_ != nullptr) limiter_->Return(model_, kind_);
  }
  LoadSlot(LoadSlot&& other) noexcept
      : limiter_(std::exchange(other.limiter_, nullptr)),
        model_(std::move(other.model_)),
        kind_(other.kind_) {}
  LoadSlot& operator=(LoadSlot&&) = delete;

 private:
  friend class LoadLimiter;

  LoadSlot(LoadLimiter& limiter, std::string model, LoadLimiter::Kind kind)
      : limiter_(&limiter), model_(std::move(model)), kind_(kind) {}

  LoadLimiter* limiter_;  // null after a move from this
  std::string model_;
  LoadLimiter::Kind kind_;
};

}  // namespace inferpool::modelserver
