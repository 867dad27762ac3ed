#include "worker/backend/rpc/breaker.h"

#include <utility>

namespace inferpool::backend {
namespace {

std::int64_t SecondOf(TimePoint now) {
  return std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
}

}  // namespace

Breaker::CallPermit::CallPermit(CallPermit&& other) noexcept
    : breaker_(std::exchange(other.breaker_, nullptr)), era_(other.era_) {}

Breaker::CallPermit::~CallPermit() {
  if (breaker_ != nullptr) breaker_->Record(era_, Outcome::kNothing, TimePoint{});
}

bool Breaker::CallPermit::Record(Outcome outcome, TimePoint now) {
  return std::exchange(breaker_, nullptr)->Record(era_, outcome, now);
}

std::optional<Breaker::CallPermit> Breaker::Admit(TimePoint now) {
  const MutexLock lock(mutex_);
  if (state_ == State::kOpen && now >= open_until_) Become(State::kHalfOpen, now);
  if (state_ == State::kOpen) return std::nullopt;
  if (state_ == State::kHalfOpen && std::exchange(trial_out_, true)) return std::nullopt;
  return CallPermit(*this, era_);
}

bool Breaker::Record(std::uint64_t era, Outcome outcome, TimePoint now) {
  const MutexLock lock(mutex_);
  if (era != era_) return false;
  trial_out_ = false;
  switch (outcome) {
    case Outcome::kNothing:
      return false;
    case Outcome::kDoubtful:
      doubted_ = true;
      return false;
    case Outcome::kAnswered:
      in_row_ = 0;
      if (state_ == State::kHalfOpen) Become(State::kClosed, now);
      Count(/*failed=*/false, now);
      return false;
    case Outcome::kFailed:
      ++in_row_;
      Count(/*failed=*/true, now);
      if (state_ == State::kClosed && in_row_ < policy_.failures_in_row && !FailsTooOften(now)) {
        return false;
      }
      Become(State::kOpen, now);
      return true;
  }
  return false;
}

void Breaker::Doubt() {
  const MutexLock lock(mutex_);
  doubted_ = true;
}

bool Breaker::WantsProbe() const {
  const MutexLock lock(mutex_);
  return doubted_ || state_ != State::kClosed;
}

bool Breaker::Probed(ProbeResult result, TimePoint now) {
  const MutexLock lock(mutex_);
  if (result != ProbeResult::kUnanswered) {
    unanswered_ = 0;
    doubted_ = false;
    if (result == ProbeResult::kReady && state_ != State::kClosed) {
      Become(state_ == State::kOpen ? State::kHalfOpen : State::kClosed, now);
    }
    return false;
  }
  if (state_ == State::kOpen || ++unanswered_ < policy_.unanswered_probes) return false;
  Become(State::kOpen, now);
  return true;
}

Breaker::State Breaker::state(TimePoint now) const {
  const MutexLock lock(mutex_);
  return state_ == State::kOpen && now >= open_until_ ? State::kHalfOpen : state_;
}

void Breaker::Count(bool failed, TimePoint now) {
  const std::int64_t at = SecondOf(now);
  Second& second = window_[static_cast<std::size_t>(at) % window_.size()];
  if (second.at != at) second = {.at = at};
  ++second.calls;
  if (failed) ++second.failures;
}

bool Breaker::FailsTooOften(TimePoint now) const {
  const std::int64_t oldest = SecondOf(now) - std::ssize(window_) + 1;
  int calls = 0;
  int failures = 0;
  for (const Second& second : window_) {
    if (second.at < oldest) continue;
    calls += second.calls;
    failures += second.failures;
  }
  return calls >= policy_.window_calls && failures >= policy_.window_share * calls;
}

void Breaker::Become(State state, TimePoint now) {
  state_ = state;
  ++era_;
  open_until_ = now + policy_.open_for;
  trial_out_ = false;
  doubted_ = false;
  unanswered_ = 0;
  in_row_ = 0;
  window_ = {};
}

}  // namespace inferpool::backend
