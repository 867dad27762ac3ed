// Asks the model servers that are in doubt or away whether they are ready, so that no request has
// to be risked to find out. While all are well it sleeps.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <thread>

#include "worker/backend/rpc/readiness_checks.h"
#include "worker/backend/rpc/target.h"
#include "worker/backend/rpc/wake_event.h"

namespace inferpool::backend {

class HealthChecker {
 public:
  // Looks at the targets whenever `wake` is woken, until none wants it any more, in a thread of its
  // own, which ends with this. `targets` and `wake` must outlive it. `signs`: as ReadinessChecks
  // has it.
  HealthChecker(std::span<const std::unique_ptr<Target>> targets, WakeEvent& wake,
                ReadinessChecks::Signs signs);

 private:
  std::jthread thread_;
};

}  // namespace inferpool::backend
