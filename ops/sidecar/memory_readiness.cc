#include "ops/sidecar/memory_readiness.h"

#include <fmt/format.h>

#include <chrono>

#include "worker/backend/shm/region_calls.h"
#include "worker/backend/shm/shared_regions.h"

namespace inferpool::ops {
namespace {

// One that takes memory may be started anew unnoticed.
constexpr std::chrono::seconds kTakenPause{5};
constexpr std::chrono::milliseconds kRefusedPause{500};
// One that is away is asked often, so that it is known when it is back.
constexpr std::chrono::milliseconds kAwayPause{100};
constexpr std::chrono::seconds kBelieved{30};

}  // namespace

void MemoryReadiness::Record(const absl::Status& answer, TimePoint now) {
  if (answer.ok()) {
    status_ = answer;
    taken_ = now;
    ask_ = now + kTakenPause;
    return;
  }
  ask_ = now + (absl::IsUnavailable(answer) ? kAwayPause : kRefusedPause);
  if (!backend::MayPass(answer)) {
    status_ = absl::UnavailableError(backend::WhatToDo(target_, answer));
  } else if (!status_ || !status_->ok() || now - taken_ >= kBelieved) {
    status_ = absl::UnavailableError(
        fmt::format("the model server takes no shared memory for now ({})", Message(answer)));
  }
}

void MemoryReadiness::Forget() {
  status_.reset();
  ask_ = {};
}

}  // namespace inferpool::ops
