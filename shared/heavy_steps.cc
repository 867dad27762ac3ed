#include "shared/heavy_steps.h"

#include <utility>

#include "shared/scoreboard.h"

namespace inferpool {

HeavyStep::HeavyStep(HeavySteps& steps, std::unique_lock<std::timed_mutex> turn)
    : steps_(&steps), turn_(std::move(turn)) {}

HeavyStep::HeavyStep(HeavyStep&& other) noexcept
    : steps_(std::exchange(other.steps_, nullptr)), turn_(std::move(other.turn_)) {}

HeavyStep& HeavyStep::operator=(HeavyStep&& other) noexcept {
  if (this != &other) {
    End();
    steps_ = std::exchange(other.steps_, nullptr);
    turn_ = std::move(other.turn_);
  }
  return *this;
}

HeavyStep::~HeavyStep() {
  End();
}

void HeavyStep::End() {
  if (steps_ == nullptr) return;
  steps_->work_.End(steps_->lane_);
  steps_ = nullptr;
  if (turn_.owns_lock()) turn_.unlock();
}

void HeavyStep::Keep(std::uint64_t bytes) {
  if (steps_ == nullptr || !turn_.owns_lock()) return;
  steps_->work_.Keep(steps_->lane_, bytes);
  turn_.unlock();
}

absl::Status HeavyStep::Resume(std::uint64_t bytes, const Patience& patience) {
  std::unique_lock turn(steps_->turn_);  // nobody else has it: this step keeps memory
  RETURN_IF_ERROR(steps_->work_.Resume(steps_->lane_, bytes, patience));
  steps_->lane_.NewStep(Clock::now());
  turn_ = std::move(turn);
  return absl::OkStatus();
}

absl::StatusOr<HeavyStep> HeavySteps::Begin(std::uint64_t bytes, const Patience& patience) {
  std::unique_lock turn(turn_, std::defer_lock);
  while (!turn.try_lock_for(std::chrono::milliseconds(50))) {
    RETURN_IF_ERROR(patience.Check());
  }
  RETURN_IF_ERROR(work_.Begin(lane_, client_, bytes, patience));
  lane_.NewStep(Clock::now());
  return HeavyStep(*this, std::move(turn));
}

}  // namespace inferpool
