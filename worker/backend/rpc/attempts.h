// Which model server a call goes to, and whether it is made again. Decisions only: what there is to
// choose from and the time come in as arguments, and the caller does the I/O:
//
//   while (std::optional<Attempt> attempt = attempts.Next(candidates, now)) {
//     // encode for attempt->target, send, and then
//     attempts.Record(status, outcome);
//   }
//   // attempts.status()
//
// A call goes to the next server in turn that is eligible, because it has what the call is about,
// and whose breaker admits it. A call that is UNAVAILABLE is repeated once, if the retry budget
// allows it and time is left: at another server when one admits it, and at the same one only when
// its connection broke and gRPC can connect again. A server that is too busy is not asked twice.
// StartAgain begins a new call with the same rules.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <span>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/board/scoreboard.h"
#include "worker/backend/rpc/breaker.h"
#include "worker/backend/rpc/retry_budget.h"

namespace inferpool::backend {

// A model server that a call may go to, as it is now.
struct Candidate {
  Breaker* breaker;
  bool may_connect;  // false: gRPC has tried to connect and could not
  bool eligible = true;
};

// What all calls of one client share. Thread safe.
struct SharedByCalls {
  explicit SharedByCalls(ModelCallCounts* where = nullptr) : counts(where) {}

  void Count(ModelCall what) const {
    if (counts != nullptr) counts->Count(what);
  }

  ModelCallCounts* const counts;  // may be null
  std::atomic<std::size_t> turn = 0;
  RetryBudget budget;
};

// The leave to send a call once to the server at the index `target` of the candidates. The permit
// is to be given what the attempt says of that server; destroyed before, it says nothing.
struct Attempt {
  std::size_t target;
  Breaker::CallPermit permit;
};

// The attempts of one call. One thread.
class Attempts {
 public:
  // `context` must outlive it.
  Attempts(SharedByCalls& context, Deadline deadline) : context_(context), deadline_(deadline) {}

  // The next attempt to make. None when the call is over: status() says how it ended. `candidates`
  // are the same servers in the same order each time; their breakers must outlive the attempts.
  std::optional<Attempt> Next(std::span<const Candidate> candidates, TimePoint now);

  // How the attempt that Next gave last has ended.
  void Record(const absl::Status& status, Breaker::Outcome outcome);

  // The call begins again: the attempt was answered, but with an error that a request encoded
  // otherwise avoids (the server does not know the shared memory), or another server (this one does
  // not have the model).
  // So it is counted as a call of its own, goes to the next server in turn, and may be repeated.
  void StartAgain();

  // The status of the last attempt; or why there was none: DEADLINE_EXCEEDED when no time was left,
  // UNAVAILABLE when no breaker admits a call.
  const absl::Status& status() const { return status_; }

 private:
  enum class Step { kBegin, kMayRepeat, kOver };

  std::optional<Attempt> Begin(std::span<const Candidate> candidates, TimePoint now);
  std::optional<Attempt> Repeat(std::span<const Candidate> candidates, TimePoint now);

  SharedByCalls& context_;
  const Deadline deadline_;
  Step step_ = Step::kBegin;
  bool repeated_ = false;
  std::size_t target_ = 0;  // of the last attempt
  Breaker::Outcome outcome_ = Breaker::Outcome::kNothing;
  absl::Status status_;
};

// The error of a call that no breaker admits, which it counts as refused.
absl::Status Refuse(const SharedByCalls& context);

}  // namespace inferpool::backend
