#include "worker/backend/rpc/health_checker.h"

#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include "worker/backend/rpc/readiness_checks.h"

namespace inferpool::backend {
namespace {

using Targets = std::span<const std::unique_ptr<Target>>;

// A server that is back is found within this and its breaker half open; at the next one, closed.
constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::milliseconds kPatience{1'000};

// At most one question is out to each target, so that a hung one keeps no other one waiting.
void ProbeUntilAllIsWell(Targets targets, const ReadinessChecks::Signs& signs,
                         const std::stop_token& stop) {
  std::vector<ReadinessChecks::Stub*> stubs;
  for (const auto& target : targets) stubs.push_back(&target->stub());
  ReadinessChecks checks(stubs, signs);
  while (!stop.stop_requested()) {
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (targets[i]->WantsProbe() && !checks.IsOut(i)) {
        checks.Ask(i, Deadline::After(kPatience));
      }
    }
    if (!checks.AnyOut()) return;
    const Deadline pause = Deadline::After(kPause);
    while (const auto answer = checks.Next(pause)) {
      targets[answer->server]->Probed(answer->result, Message(answer->ready));
    }
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (checks.IsOverdue(i, Clock::now())) {
        targets[i]->Probed(Breaker::ProbeResult::kUnanswered, "it reads nothing");
      }
    }
  }
}

}  // namespace

HealthChecker::HealthChecker(Targets targets, WakeEvent& wake, ReadinessChecks::Signs signs)
    : thread_([targets, &wake, signs = std::move(signs)](const std::stop_token& stop) {
        while (wake.Await(stop)) ProbeUntilAllIsWell(targets, signs, stop);
      }) {}

}  // namespace inferpool::backend
