// Runs a model's requests on its instances, and lets them wait when all instances are busy.
//
// A scheduler has no threads. Each request is run by the thread that calls Run. A thread that
// brings a request, or returns an instance, looks at the queue (batch_queue.h). When a batch is
// due, one of its requests becomes the leader: its thread runs the engine for the whole batch while
// the other threads wait. So a request that finds an idle instance runs at once, without waking a
// thread, and a model waits only for its own instances. All models share one AdmissionLimiter.
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

// Thread safe.
class Scheduler : public ModelExecutor {
 public:
  // `instances` is not empty, and `config` has passed CheckConfig. `statistics` must outlive it.
  // All models of a server share `limiter`.
  Scheduler(const inference::ModelConfig& config, std::vector<std::unique_ptr<Engine>> instances,
            ModelStatistics& statistics,
            std::shared_ptr<AdmissionLimiter> limiter = std::make_shared<AdmissionLimiter>());

  // Waits for an instance and runs the request. The errors are the engine's; UNAVAILABLE when the
  // queue is full, the time-out of its policy has passed, or the limiter does not admit the
  // request; RESOURCE_EXHAUSTED when the request may not block; DEADLINE_EXCEEDED and CANCELLED
  // while the request waits. A batch that has begun to run is run to its end, unless the clients of
  // all its requests have gone and the engine can end it.
  absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs,
                   const InferContext& context, RunTimes& times) override;

  std::size_t pending() const override;

 private:
  struct Waiter;

  // Whether an instance runs such inputs as fast as it can copy them.
  bool IsInstant(std::span<const TensorView> inputs) const;

  // Fails expired requests and gives batches that are due to idle instances. `self` is the request
  // of the calling thread when it waits, otherwise null; it leads its own batch.
  void Pump(TimePoint now, Waiter* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits until the state of `waiter` changes, the queue's next event is due, or the deadline has
  // passed, and then looks at the queue. `looked` is the time of the last look, so that no event is
  // missed between two looks. Returns the time of this one.
  TimePoint Wait(Waiter& waiter, const InferContext& context, TimePoint looked, MutexLock& lock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Fails a request that still waits.
  void GiveUp(Waiter& waiter, absl::Status status, TimePoint now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Notes that the client of a request that runs has gone.
  void Depart(Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs the batch that `leader` was given; returns when that ended.
  [[nodiscard]] TimePoint RunBatch(Waiter& leader) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the requests of a batch that has run; with preserve_ordering, after those of all batches
  // that began before it.
  void Release(Waiter& leader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const bool batches_;
  const bool same_shapes_;  // whether the queue need not compare the requests' shapes
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
