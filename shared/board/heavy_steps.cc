#include "shared/board/heavy_steps.h"

#include <chrono>
#include <utility>

#include "shared/base/check.h"
#include "shared/board/scoreboard.h"

namespace inferpool {

HeavyStep::HeavyStep(HeavyStep&& other) noexcept
    : steps_(std::exchange(other.steps_, nullptr)), works_(other.works_) {}

HeavyStep& HeavyStep::operator=(HeavyStep&& other) noexcept {
  if (this != &other) {
    End();
    steps_ = std::exchange(other.steps_, nullptr);
    works_ = other.works_;
  }
  return *this;
}

HeavyStep::~HeavyStep() {
  End();
}

void HeavyStep::End() {
  if (steps_ == nullptr) return;
  HeavySteps& steps = *std::exchange(steps_, nullptr);
  steps.work_.End(steps.thread_slot_);
  steps.GiveTurn();
}

void HeavyStep::Keep(std::uint64_t bytes) {
  if (steps_ == nullptr || !works_) return;
  steps_->work_.Keep(steps_->thread_slot_, bytes);
  works_ = false;
}

void HeavyStep::KeepUntilLeave(std::uint64_t bytes) {
  Keep(bytes);
  if (HeavySteps* const steps = std::exchange(steps_, nullptr)) steps->GiveTurn();
}

absl::Status HeavyStep::Resume(std::uint64_t bytes, const Patience& patience) {
  CHECK(steps_ != nullptr);
  RETURN_IF_ERROR(steps_->work_.Resume(steps_->thread_slot_, bytes, patience));
  steps_->thread_slot_.NewStep(Clock::now());
  works_ = true;
  return absl::OkStatus();
}

absl::StatusOr<HeavyStep> HeavySteps::Begin(std::uint64_t bytes, const Patience& patience) {
  RETURN_IF_ERROR(TakeTurn(patience));
  if (absl::Status status = work_.Begin(thread_slot_, client_, bytes, patience); !status.ok()) {
    GiveTurn();
    return status;
  }
  thread_slot_.NewStep(Clock::now());
  return HeavyStep(*this);
}

absl::Status HeavySteps::TakeTurn(const Patience& patience) {
  constexpr std::chrono::milliseconds kLookAgain{50};
  MutexLock lock(mutex_);
  while (taken_) {
    RETURN_IF_ERROR(patience.Check());
    given_.wait_for(lock.native(), kLookAgain);
  }
  taken_ = true;
  return absl::OkStatus();
}

void HeavySteps::GiveTurn() {
  const MutexLock lock(mutex_);
  taken_ = false;
  given_.notify_one();
}

}  // namespace inferpool
