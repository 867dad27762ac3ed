// The circuit breaker of one model server: calls are not made while they would only wait or fail.
//
//   closed ── failures in a row, a share of failures, or unanswered probes ──> open
//   open ── its time is over, or a probe finds the server ready ──> half open
//   half open ── its one call is answered, or a second probe finds it ready ──> closed
//   half open ── its one call fails, or probes stay unanswered ──> open
//
// What does not tell a hung server from a slow model (a missed deadline, an answer UNAVAILABLE over
// a connection that lives on) only raises a doubt: the health checker then asks the server itself,
// and its silence opens the breaker. So one model's full queue takes no other model from its users.
//
// Thread safe. Time comes in as an argument.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::backend {

struct BreakerPolicy {
  Clock::duration open_for = std::chrono::seconds(30);  // without a probe that finds it ready
  int failures_in_row = 5;
  // Half of at least so many calls in the window: an unsteady server, with successes in between.
  int window_calls = 20;
  double window_share = 0.5;
  // Probes in a row, of a second each: more than a busy machine keeps a living server waiting.
  int unanswered_probes = 3;
};

class Breaker {
 public:
  enum class State { kClosed, kOpen, kHalfOpen };

  // What a call says of its server.
  enum class Outcome {
    kAnswered,  // it lives, whatever it answered
    kFailed,    // there was no connection, or it broke
    kDoubtful,  // no answer in time, or UNAVAILABLE: see above
    kNothing,   // the call was given up by us
  };

  enum class ProbeResult { kReady, kNotReady, kUnanswered };

  // The leave to make one call. Destroyed without Record, the call says nothing. The breaker must
  // outlive it.
  class CallPermit {
   public:
    CallPermit(CallPermit&& other) noexcept;
    CallPermit& operator=(CallPermit&&) = delete;
    ~CallPermit();

    // To be called once. True when this opened the breaker.
    bool Record(Outcome outcome, TimePoint now);

   private:
    friend class Breaker;
    CallPermit(Breaker& breaker, std::uint64_t era) : breaker_(&breaker), era_(era) {}

    Breaker* breaker_;  // null: recorded, or moved from
    std::uint64_t era_;
  };

  explicit Breaker(const BreakerPolicy& policy) : policy_(policy) {}
  Breaker(const Breaker&) = delete;
  Breaker& operator=(const Breaker&) = delete;

  // None while it is open, and while the one call of its half-open state is out.
  std::optional<CallPermit> Admit(TimePoint now);

  // A call takes unusually long.
  void Doubt();

  // True while the health checker should ask the server.
  bool WantsProbe() const;

  // What the health checker found. True when this opened the breaker.
  bool Probed(ProbeResult result, TimePoint now);

  State state(TimePoint now) const;

 private:
  struct Second {
    std::int64_t at = -1;
    int calls = 0;
    int failures = 0;
  };

  bool Record(std::uint64_t era, Outcome outcome, TimePoint now);
  void Count(bool failed, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool FailsTooOften(TimePoint now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Become(State state, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const BreakerPolicy policy_;
  mutable Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kClosed;
  std::uint64_t era_ ABSL_GUARDED_BY(mutex_) =
      0;  // of the state: what began in an earlier one says nothing of this one
  TimePoint open_until_ ABSL_GUARDED_BY(mutex_){};
  bool trial_out_ ABSL_GUARDED_BY(mutex_) = false;  // the one call of the half-open state
  bool doubted_ ABSL_GUARDED_BY(mutex_) = false;
  int unanswered_ ABSL_GUARDED_BY(mutex_) = 0;  // probes in a row
  int in_row_ ABSL_GUARDED_BY(mutex_) = 0;      // failures
  std::array<Second, 10> window_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::backend
