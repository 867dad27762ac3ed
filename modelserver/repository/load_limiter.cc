#include "modelserver/repository/load_limiter.h"

namespace inferpool::modelserver {

absl::StatusOr<LoadSlot> LoadLimiter::Take(const std::string& model, Kind kind) {
  MutexLock lock(mutex_);
  const auto free = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !models_.contains(model) && (kind == Kind::kUnload || loads_ < max_loads_);
  };
  if (!free()) {
    if (waiting_ >= max_waiting_) {
      return absl::UnavailableError("too many models wait to be loaded");
    }
    ++waiting_;
    returned_.wait(lock.native(), free);
    --waiting_;
  }
  models_.insert(model);
  loads_ += kind == Kind::kLoad ? 1 : 0;
  return LoadSlot(*this, model, kind);
}

void LoadLimiter::Return(const std::string& model, Kind kind) {
  {
    const MutexLock lock(mutex_);
    models_.erase(model);
    loads_ -= kind == Kind::kLoad ? 1 : 0;
  }
  returned_.notify_all();
}

}  // namespace inferpool::modelserver
