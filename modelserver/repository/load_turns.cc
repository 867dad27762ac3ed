#include "modelserver/repository/load_turns.h"

#include <utility>

namespace inferpool::modelserver {

LoadTurns::Turn::~Turn() {
  if (turns_ != nullptr) {
    turns_->Return(model_, kind_);
  }
}

LoadTurns::Turn::Turn(Turn&& other) noexcept
    : turns_(std::exchange(other.turns_, nullptr)),
      model_(std::move(other.model_)),
      kind_(other.kind_) {}

absl::StatusOr<LoadTurns::Turn> LoadTurns::Take(const std::string& model, Kind kind) {
  std::unique_lock lock(mutex_);
  const auto free = [&] {
    return !models_.contains(model) && (kind == Kind::kUnload || loads_ < most_loads_);
  };
  if (!free()) {
    if (waiting_ >= most_waiting_) {
      return absl::UnavailableError("too many models wait to be loaded");
    }
    ++waiting_;
    returned_.wait(lock, free);
    --waiting_;
  }
  models_.insert(model);
  loads_ += kind == Kind::kLoad ? 1 : 0;
  return Turn(*this, model, kind);
}

void LoadTurns::Return(const std::string& model, Kind kind) {
  {
    const std::lock_guard lock(mutex_);
    models_.erase(model);
    loads_ -= kind == Kind::kLoad ? 1 : 0;
  }
  returned_.notify_all();
}

}  // namespace inferpool::modelserver
