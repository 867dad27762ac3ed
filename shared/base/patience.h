// For how long the client of a request wants its answer.
#pragma once

#include <stop_token>

#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool {

// Ends at the deadline, or when the client disconnects.
struct Patience {
  Deadline deadline = Deadline::Never();
  std::stop_token departed = {};  // stopped when the client has left

  // OK while the answer is wanted; then DEADLINE_EXCEEDED or CANCELLED. It reads the clock, so call
  // it every few milliseconds in a loop, not more often.
  absl::Status Check() const {
    if (departed.stop_requested()) return absl::CancelledError("the client left");
    if (!deadline.Expired(Clock::now())) return absl::OkStatus();
    return absl::DeadlineExceededError("the request's time was over before its input was read");
  }
};

}  // namespace inferpool
