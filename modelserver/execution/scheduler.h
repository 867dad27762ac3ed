// The instances of a model and the requests that wait for them.
//
// There are no threads of its own: each request is run by the thread that brought it. Whoever comes
// or gives an instance back looks at the queue (batch_queue.h); the first request of a batch that
// is due leads it, which means that its thread runs the engine for all of them while the others
// wait. So a request that finds an idle instance runs at once, without a wake-up, and every model
// waits only for its own instances. All models share one AdmissionLimiter. Thread safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "modelserver/execution/admission_limiter.h"
#include "modelserver/execution/batch_queue.h"
#include "modelserver/execution/engine.h"
#include "modelserver/execution/model_executor.h"
#include "modelserver/execution/statistics.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {

class Scheduler : public ModelExecutor {
 public:
  // `instances` is not empty; `config` passed CheckConfig. `statistics` must outlive it. Models
  // that are served side by side share `limiter`.
  Scheduler(const inference::ModelConfig& config, std::vector<std::unique_ptr<Engine>> instances,
            ModelStatistics& statistics,
            std::shared_ptr<AdmissionLimiter> limiter = std::make_shared<AdmissionLimiter>());

  // Errors: the engine's; UNAVAILABLE when the queue is full, its policy's time-out has passed, or
  // the limiter does not admit the request; DEADLINE_EXCEEDED and CANCELLED for a request
  // that was still waiting. One that runs already runs to its end.
  absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs,
                   const InferContext& context, RunTimes& times) override;

  std::size_t pending() const override;

 private:
  struct Waiter;

  // Whether an instance runs such inputs in no time.
  bool IsInstant(std::span<const TensorView> inputs) const;

  // Fails what has expired and gives due batches to idle instances. `self` is the calling thread's
  // own request, if it has one that waits.
  void Pump(TimePoint now, Waiter* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits for news of `waiter`, or until it gives up. `looked` is the last Pump's time, so that no
  // event falls between a look and a wait; returns the next one.
  TimePoint Wait(Waiter& waiter, const InferContext& context, TimePoint looked, MutexLock& lock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Fails it, unless it waits no more.
  void GiveUp(Waiter& waiter, absl::Status status, TimePoint now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs the batch that `leader` was given; returns when that ended.
  [[nodiscard]] TimePoint RunBatch(Waiter& leader) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets a finished batch's requests go; with preserve_ordering not before those before it.
  void Release(Waiter& leader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const bool batches_;
  const bool same_shapes_;  // whether requests of different shapes can come
  const bool preserve_ordering_;
  const std::vector<std::unique_ptr<Engine>> instances_;
  ModelStatistics& statistics_;
  const std::shared_ptr<AdmissionLimiter> limiter_;
  ModelQuota quota_;

  mutable Mutex mutex_;
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<Engine*> idle_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t next_batch_ ABSL_GUARDED_BY(mutex_) = 0;
  // With preserve_ordering: the batches that run, and those that have ended behind one that runs.
  std::set<std::uint64_t> running_ ABSL_GUARDED_BY(mutex_);
  std::map<std::uint64_t, std::vector<Waiter*>> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::modelserver
