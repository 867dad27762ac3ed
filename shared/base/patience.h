// How long work on a request is wanted.
#pragma once

#include <stop_token>

#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool {

// Until the deadline, or until the client leaves.
struct Patience {
  Deadline deadline = Deadline::Never();
  std::stop_token departed = {};  // stopped when the client has left

  // OK; DEADLINE_EXCEEDED or CANCELLED once the work is not wanted any more. Costs a look at the
  // clock: in a loop, call it every few milliseconds.
  absl::Status Check() const {
    if (departed.stop_requested()) return absl::CancelledError("the client left");
    if (!deadline.Expired(Clock::now())) return absl::OkStatus();
    return absl::DeadlineExceededError("the request's time was over before its input was read");
  }
};

}  // namespace inferpool
