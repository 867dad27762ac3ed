#include "modelserver/execution/scheduler.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <utility>

#include "modelserver/config/request_check.h"
#include "shared/base/check.h"

namespace inferpool::modelserver {
namespace {

// Whether two requests can differ in more than their rows.
bool HasOpenShapes(const inference::ModelConfig& config) {
  return std::ranges::any_of(config.input(), [](const inference::ModelInput& input) {
    return input.optional() || std::ranges::find(input.dims(), -1) != input.dims().end();
  });
}

// The inputs' shapes without the number of rows, which must be the same within a batch. Before each
// shape stands how long it is; 0: the input is not there.
std::vector<std::int64_t> RowShapes(std::span<const TensorView> inputs) {
  std::vector<std::int64_t> shapes;
  for (const TensorView& input : inputs) {
    shapes.push_back(static_cast<std::int64_t>(input.shape.size()));
    if (IsThere(input)) {
      shapes.insert(shapes.end(), input.shape.begin() + 1, input.shape.end());
    }
  }
  return shapes;
}

bool CanBlock(const InferContext& context) {
  return !context.can_block || context.can_block();
}

absl::Status NoThread() {
  return absl::ResourceExhaustedError("the server has no thread for a request that waits");
}

}  // namespace

// A request, on the stack of its thread. Guarded by mutex_, except `execution` and `times`, which
// belong to the leader while the batch runs.
struct Scheduler::Waiter : Queued {
  enum class State { kWaiting, kLeads, kRuns, kDone };

  State state = State::kWaiting;
  Waiter* leader = nullptr;  // of its batch, once it runs
  Execution execution;
  RunTimes times;
  std::condition_variable changed;
  // Only of a leader:
  Engine* engine = nullptr;
  std::uint64_t batch = 0;
  std::vector<Waiter*> members;  // itself among them
  std::size_t departed = 0;      // members whose client has gone while they run
  std::stop_source abandoned;

  void Become(State next) {
    state = next;
    changed.notify_one();  // under the lock, because this ends when its thread wakes up
  }

  // Of a leader: where the time of its batch went. When an engine runs the requests one after the
  // other, the time between two inferences counts as inference.
  RunTimes Spent(TimePoint start, TimePoint end) const {
    std::optional<TimePoint> infer_start;
    TimePoint infer_end = end;
    for (const Waiter* member : members) {
      if (!infer_start) infer_start = member->execution.infer_start;
      infer_end = member->execution.infer_end.value_or(infer_end);
    }
    return {.compute_input = infer_start.value_or(start) - start,
            .compute_infer = infer_end - infer_start.value_or(start),
            .compute_output = end - infer_end};
  }
};

Scheduler::Scheduler(const inference::ModelConfig& config,
                     std::vector<std::unique_ptr<Engine>> instances, ModelStatistics& statistics,
                     std::shared_ptr<AdmissionLimiter> limiter)
    : batches_(config.max_batch_size() > 0),
      same_shapes_(!config.has_dynamic_batching() || !HasOpenShapes(config)),
      preserve_ordering_(config.dynamic_batching().preserve_ordering()),
      instances_(std::move(instances)),
      statistics_(statistics),
      limiter_(std::move(limiter)),
      quota_(*limiter_, instances_.size()),
      queue_(PolicyOf(config)) {
  CHECK(!instances_.empty());
  for (const std::unique_ptr<Engine>& instance : instances_) {
    idle_.push_back(instance.get());
  }
}

absl::Status Scheduler::Run(std::span<const TensorView> inputs, Outputs& outputs,
                            const InferContext& context, RunTimes& times) {
  CHECK(!inputs.empty());
  Waiter self;
  self.rows = batches_ ? RowsOf(inputs) : 1;
  if (!same_shapes_) {
    self.shapes = RowShapes(inputs);
  }
  self.execution = {.inputs = inputs, .outputs = &outputs, .status = {}};
  const TimePoint now = Clock::now();
  if (context.deadline.Expired(now)) {
    return absl::DeadlineExceededError("the deadline was over before the request ran");
  }
  const Admission admission(quota_, context.bytes);
  if (!admission.granted()) {
    return absl::UnavailableError("too many requests are in work");
  }
  if (!IsInstant(inputs) && !CanBlock(context)) {
    return NoThread();
  }
  // Constructed and destroyed without the lock, because the callback takes it. When the client has
  // gone already, the constructor runs the callback.
  const std::stop_callback gone(context.gone, [this, &self] {
    const MutexLock lock(mutex_);
    GiveUp(self, absl::CancelledError("the caller went away while the request waited"),
           Clock::now());
    Depart(self);
  });
  MutexLock lock(mutex_);
  if (self.state == Waiter::State::kWaiting) {
    RETURN_IF_ERROR(queue_.Push(self, context.priority, context.timeout, now));
    Pump(now, &self);
  }
  if (self.state == Waiter::State::kWaiting) {
    lock.Unlock();
    const bool can_block = CanBlock(context);
    lock.Lock();
    if (!can_block) GiveUp(self, NoThread(), Clock::now());
  }
  TimePoint looked = now;
  while (self.state == Waiter::State::kWaiting) {
    looked = Wait(self, context, looked, lock);
  }
  if (self.state == Waiter::State::kLeads) {
    lock.Unlock();
    const TimePoint end = RunBatch(self);
    lock.Lock();
    idle_.push_back(self.engine);
    Release(self);
    Pump(end, nullptr);
  }
  self.changed.wait(lock.native(), [&self] { return self.state == Waiter::State::kDone; });
  times = self.times;
  return std::move(self.execution.status);
}

bool Scheduler::IsInstant(std::span<const TensorView> inputs) const {
  if (!instances_.front()->instant()) {
    return false;
  }
  std::size_t bytes = 0;
  for (const TensorView& input : inputs) bytes += input.data.size();
  return bytes <= kSmallRequest;
}

TimePoint Scheduler::Wait(Waiter& waiter, const InferContext& context, TimePoint looked,
                          MutexLock& lock) {
  TimePoint wake = context.deadline.at();
  if (const std::optional<TimePoint> event = queue_.NextEvent(waiter, looked)) {
    wake = std::min(wake, *event);
  }
  waiter.changed.wait_until(lock.native(), wake);
  const TimePoint now = Clock::now();
  if (waiter.state != Waiter::State::kWaiting) {
    return now;
  }
  Pump(now, &waiter);
  if (context.deadline.Expired(now)) {
    GiveUp(waiter, absl::DeadlineExceededError("the deadline was over while the request waited"),
           now);
  }
  return now;
}

void Scheduler::GiveUp(Waiter& waiter, absl::Status status, TimePoint now) {
  if (waiter.state != Waiter::State::kWaiting) {
    return;
  }
  queue_.Remove(waiter);
  waiter.execution.status = std::move(status);
  waiter.Become(Waiter::State::kDone);
  Pump(now, nullptr);  // the requests behind it may make a batch now
}

void Scheduler::Depart(Waiter& waiter) {
  const bool runs = waiter.state == Waiter::State::kRuns || waiter.state == Waiter::State::kLeads;
  if (runs && ++waiter.leader->departed == waiter.leader->members.size()) {
    waiter.leader->abandoned.request_stop();
  }
}

void Scheduler::Pump(TimePoint now, Waiter* self) {
  for (Queued* expired : queue_.Expire(now)) {
    auto& waiter = static_cast<Waiter&>(*expired);
    waiter.execution.status = absl::UnavailableError("Request timeout expired");
    waiter.Become(Waiter::State::kDone);
  }
  while (!idle_.empty()) {
    const std::vector<Queued*> batch = queue_.Take(now);
    if (batch.empty()) {
      return;
    }
    // The calling thread leads its own batch, because it is awake already.
    Queued* chosen = std::ranges::find(batch, self) == batch.end() ? batch.front() : self;
    auto& leader = static_cast<Waiter&>(*chosen);
    for (Queued* member : batch) {
      auto& waiter = static_cast<Waiter&>(*member);
      waiter.state = Waiter::State::kRuns;
      waiter.leader = &leader;
      waiter.execution.abandoned = leader.abandoned.get_token();
      leader.members.push_back(&waiter);
    }
    leader.engine = idle_.back();
    idle_.pop_back();
    leader.batch = next_batch_++;
    if (preserve_ordering_) {
      running_.insert(leader.batch);
    }
    leader.Become(Waiter::State::kLeads);
  }
}

TimePoint Scheduler::RunBatch(Waiter& leader) {
  const TimePoint start = Clock::now();
  std::int64_t rows = 0;
  if (leader.members.size() == 1) {
    leader.engine->Run({&leader.execution, 1});
    rows = leader.rows;
  } else {
    std::vector<Execution> batch;
    batch.reserve(leader.members.size());
    for (const Waiter* member : leader.members) {
      batch.push_back(member->execution);
      rows += member->rows;
    }
    leader.engine->Run(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      leader.members[i]->execution = std::move(batch[i]);
    }
  }
  const TimePoint end = Clock::now();
  const RunTimes times = leader.Spent(start, end);
  for (Waiter* member : leader.members) {
    member->times = times;
    member->times.queue = start - member->since;
  }
  statistics_.Execution(rows, leader.times);
  return end;
}

void Scheduler::Release(Waiter& leader) {
  if (!preserve_ordering_) {
    for (Waiter* member : leader.members) {
      member->Become(Waiter::State::kDone);
    }
    return;
  }
  running_.erase(leader.batch);
  held_.emplace(leader.batch, leader.members);
  while (!held_.empty() && (running_.empty() || held_.begin()->first < *running_.begin())) {
    for (Waiter* member : held_.begin()->second) {
      member->Become(Waiter::State::kDone);
    }
    held_.erase(held_.begin());
  }
}

std::size_t Scheduler::pending() const {
  const MutexLock lock(mutex_);
  return queue_.size();
}

}  // namespace inferpool::modelserver
