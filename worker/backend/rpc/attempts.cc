#include "worker/backend/rpc/attempts.h"

#include <algorithm>
#include <utility>

namespace inferpool::backend {
namespace {

// The index of the eligible server whose turn it is; 0 when there is none.
std::size_t InTurn(std::span<const Candidate> candidates, std::size_t turn) {
  const auto eligible = std::ranges::count_if(candidates, &Candidate::eligible);
  if (eligible == 0) return 0;
  std::size_t skip = turn % static_cast<std::size_t>(eligible);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].eligible && skip-- == 0) return i;
  }
  return 0;
}

// The first eligible server from index `first` on that admits a call: one that gRPC may connect to
// rather than one that it may not, and `avoid` only when no other one does.
std::optional<Attempt> Choose(std::span<const Candidate> candidates, std::size_t first,
                              std::optional<std::size_t> avoid, TimePoint now) {
  const auto find = [&](const auto& suits) -> std::optional<Attempt> {
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const std::size_t target = (first + i) % candidates.size();
      if (!candidates[target].eligible || !suits(target)) continue;
      if (auto permit = candidates[target].breaker->Admit(now)) {
        return Attempt{target, *std::move(permit)};
      }
    }
    return std::nullopt;
  };
  if (auto found = find([&](std::size_t i) { return i != avoid && candidates[i].may_connect; })) {
    return found;
  }
  if (auto found = find([&](std::size_t i) { return i != avoid; })) return found;
  return find([&](std::size_t i) { return i == avoid; });
}

}  // namespace

std::optional<Attempt> Attempts::Next(std::span<const Candidate> candidates, TimePoint now) {
  switch (std::exchange(step_, Step::kOver)) {
    case Step::kBegin:
      return Begin(candidates, now);
    case Step::kMayRepeat:
      return Repeat(candidates, now);
    case Step::kOver:
      break;
  }
  return std::nullopt;
}

std::optional<Attempt> Attempts::Begin(std::span<const Candidate> candidates, TimePoint now) {
  // gRPC may answer a call whose deadline was over before it began.
  if (deadline_.Expired(now)) {
    status_ = absl::DeadlineExceededError("no time was left");
    return std::nullopt;
  }
  context_.Count(ModelCall::kMade);
  context_.budget.CountCall();
  const std::size_t turn = context_.turn.fetch_add(1, std::memory_order_relaxed);
  const std::size_t first = InTurn(candidates, turn);
  std::optional<Attempt> attempt = Choose(candidates, first, /*avoid=*/std::nullopt, now);
  if (attempt) {
    target_ = attempt->target;
  } else {
    status_ = Refuse(context_);
  }
  return attempt;
}

std::optional<Attempt> Attempts::Repeat(std::span<const Candidate> candidates, TimePoint now) {
  if (deadline_.Expired(now)) return std::nullopt;
  std::optional<Attempt> attempt = Choose(candidates, target_ + 1, /*avoid=*/target_, now);
  if (!attempt) return std::nullopt;
  const bool elsewhere = attempt->target != target_;
  const bool connection_broke = outcome_ == Breaker::Outcome::kFailed;
  if (!elsewhere && !(connection_broke && candidates[target_].may_connect)) return std::nullopt;
  if (!context_.budget.Take()) return std::nullopt;
  context_.Count(ModelCall::kRetried);
  repeated_ = true;
  target_ = attempt->target;
  return attempt;
}

void Attempts::Record(const absl::Status& status, Breaker::Outcome outcome) {
  status_ = status;
  outcome_ = outcome;
  const bool of_the_server =
      outcome == Breaker::Outcome::kFailed || outcome == Breaker::Outcome::kDoubtful;
  if (absl::IsUnavailable(status) && of_the_server && !repeated_) step_ = Step::kMayRepeat;
}

void Attempts::StartAgain() {
  step_ = Step::kBegin;
  repeated_ = false;
}

absl::Status Refuse(const SharedByCalls& context) {
  context.Count(ModelCall::kRefused);
  return absl::UnavailableError("no model server can take a call now");
}

}  // namespace inferpool::backend
