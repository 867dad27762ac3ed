#include "worker/backend/request_batcher.h"

#include <absl/cleanup/cleanup.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <stop_token>
#include <utility>
#include <vector>

namespace inferpool::backend {
namespace {

// A row is written in a few milliseconds; who takes longer than this holds nobody up.
constexpr std::chrono::milliseconds kLongestWrite{50};

absl::Status NobodyWaits() {
  return absl::CancelledError("nobody waits for the answer any more");
}
absl::Status TookTooLong() {
  return absl::DeadlineExceededError("the batch took too long");
}

// Errors that one row of a batch can bring upon all.
bool MayBeOneRows(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct RequestBatcher::Batch {
  enum class State { kWriting, kWaiting, kLeft };

  // What the leader's client does by leaving, while the call is out.
  struct LeaderLeaves {
    void operator()() const { batcher->Leave(*batch, 0); }

    RequestBatcher* batcher;
    Batch* batch;
  };

  Batch(std::span<const std::int64_t> shape, std::size_t bytes, Lease lease, Deadline leader)
      : row_shape(shape.begin(), shape.end()),
        row_bytes(bytes),
        memory(std::make_shared<Lease>(std::move(lease))),
        deadline(leader) {}

  State& state(int row) { return states[static_cast<std::size_t>(row)]; }

  // How many can be sent: the rows before the first that is still being written.
  int Ready() const {
    return static_cast<int>(std::ranges::find(states, State::kWriting) - states.begin());
  }

  BatchInput Part(int first, int count) const {
    return {.row_shape = row_shape,
            .rows = count,
            .memory = memory,
            .offset = static_cast<std::size_t>(first) * row_bytes,
            .bytes = static_cast<std::size_t>(count) * row_bytes};
  }

  const std::vector<std::int64_t> row_shape;
  const std::size_t row_bytes;
  const std::shared_ptr<Lease> memory;
  const Deadline deadline;
  std::stop_source nobody_waits;
  std::optional<std::stop_callback<LeaderLeaves>> leader_leaves;  // the leader's thread's

  // Guarded by the batcher's mutex.
  std::vector<State> states;
  bool closed = false;
  std::optional<int> sent;  // the first rows, which go with the batch; 0: it was given up
  std::optional<BatchAnswer> outcome;
  std::condition_variable_any changed;
};

RequestBatcher::RequestBatcher(BatchLimits limits, TensorMemory& memory)
    : limits_(limits), memory_(memory), policy_(limits) {}

// ---- Joining

absl::StatusOr<RequestBatcher::Row> RequestBatcher::Join(std::span<const std::int64_t> row_shape,
                                                         std::size_t row_bytes,
                                                         const CallLimits& limits) {
  const MutexLock lock(mutex_);
  const BatchPolicy::Part part = policy_.Arrive(row_shape, limits.deadline, Clock::now());
  std::shared_ptr<Batch> batch = open_;
  if (part != BatchPolicy::Part::kFollow) {
    const bool alone = part == BatchPolicy::Part::kAlone;
    absl::Cleanup give_up = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      if (!alone) policy_.Close();
      policy_.Back();
    };
    Lease memory = memory_.AllocateRows(row_bytes, alone ? 1 : limits_.max_rows);
    if (!memory) return absl::ResourceExhaustedError("there is no memory for a tensor");
    batch = std::make_shared<Batch>(row_shape, row_bytes, std::move(memory), limits.deadline);
    std::move(give_up).Cancel();
    if (alone) {
      batch->closed = true;
    } else {
      policy_.Limit(static_cast<int>(batch->memory->bytes().size() / row_bytes));
      open_ = batch;
    }
  }
  const int row = static_cast<int>(batch->states.size());
  batch->states.push_back(Batch::State::kWriting);
  if (open_ != nullptr && !policy_.HasOpen()) {  // it is full
    open_->closed = true;
    open_->changed.notify_all();
    open_.reset();
  }
  return Row(*this, std::move(batch), row, limits);
}

RequestBatcher::Row::Row(RequestBatcher& batcher, std::shared_ptr<Batch> batch, int row,
                         CallLimits limits)
    : batcher_(&batcher), batch_(std::move(batch)), row_(row), limits_(std::move(limits)) {}

std::span<std::byte> RequestBatcher::Row::bytes() const {
  const BatchInput part = batch_->Part(row_, 1);
  return part.memory->bytes().subspan(part.offset, part.bytes);
}

RequestBatcher::Row::~Row() {
  if (batch_ == nullptr || done_) return;
  batcher_->Leave(*batch_, row_);
  if (!leads()) return;
  // Without a leader the others are on their own.
  batch_->leader_leaves.reset();
  const MutexLock lock(batcher_->mutex_);
  batch_->sent = 0;
  batcher_->End(*batch_, absl::CancelledError("the batch was given up"));
}

// ---- The leader

BatchCall RequestBatcher::Row::Close() {
  Batch& batch = *batch_;
  BatchPolicy& policy = batcher_->policy_;
  MutexLock lock(batcher_->mutex_);
  batch.state(row_) = Batch::State::kWaiting;
  while (!batch.closed && Clock::now() < policy.SendAt()) {
    batch.changed.wait_until(lock.native(), policy.SendAt());
  }
  if (!batch.closed) {
    policy.Close();
    batch.closed = true;
    batcher_->open_.reset();
  }
  const TimePoint until = std::min(Clock::now() + kLongestWrite, batch.deadline.at());
  batch.changed.wait_until(lock.native(), until,
                           [&] { return batch.Ready() == static_cast<int>(batch.states.size()); });
  const int rows = batch.Ready();
  batch.sent = rows;
  batch.changed.notify_all();  // for those who are not in it
  lock.Unlock();

  CallLimits limits = limits_;
  limits.departed = batch.nobody_waits.get_token();
  batch.leader_leaves.emplace(limits_.departed, Batch::LeaderLeaves{batcher_, &batch});
  return {batch.Part(0, rows), std::move(limits)};
}

void RequestBatcher::Row::Finish(BatchAnswer outcome) {
  batch_->leader_leaves.reset();
  const MutexLock lock(batcher_->mutex_);
  batcher_->End(*batch_, std::move(outcome));
  done_ = true;
}

void RequestBatcher::End(Batch& batch, BatchAnswer outcome) {
  batch.outcome = std::move(outcome);
  batch.changed.notify_all();
  if (!batch.closed) {
    policy_.Close();
    batch.closed = true;
    open_.reset();
  }
  policy_.Back();
  if (open_ != nullptr) open_->changed.notify_all();  // it may be sent now
}

// ---- A follower

absl::Status RequestBatcher::Row::AwaitFinish() {
  Batch& batch = *batch_;
  {
    MutexLock lock(batcher_->mutex_);
    batch.state(row_) = Batch::State::kWaiting;
    batch.changed.notify_all();
    done_ = batch.changed.wait_until(lock.native(), limits_.departed, limits_.deadline.at(), [&] {
      return batch.outcome.has_value() || (batch.sent && row_ >= *batch.sent);
    });
  }
  if (done_) return absl::OkStatus();
  batcher_->Leave(batch, row_);
  done_ = true;
  return limits_.departed.stop_requested() ? NobodyWaits() : TookTooLong();
}

void RequestBatcher::Leave(Batch& batch, int row) {
  {
    const MutexLock lock(mutex_);
    batch.state(row) = Batch::State::kLeft;
    batch.changed.notify_all();
    if (!batch.sent) return;
    const auto members = std::span(batch.states).first(static_cast<std::size_t>(*batch.sent));
    if (std::ranges::find(members, Batch::State::kWaiting) != members.end()) return;
  }
  batch.nobody_waits.request_stop();  // runs what the call has hung on it, in this thread
}

// ---- The outcome of one row

std::optional<absl::StatusOr<RowAnswer>> RequestBatcher::Row::Outcome() const {
  if (limits_.departed.stop_requested()) return NobodyWaits();
  std::optional<BatchAnswer> outcome;
  int sent = 0;
  {
    const MutexLock lock(batcher_->mutex_);
    outcome = batch_->outcome;
    sent = *batch_->sent;
  }
  if (row_ >= sent) return std::nullopt;
  if (outcome->ok()) return RowAnswer{**outcome, sent, row_};
  const absl::Status& status = outcome->status();
  const TimePoint now = Clock::now();
  const bool by_another_row = sent > 1 && MayBeOneRows(status);
  const bool by_the_leaders_deadline =
      !leads() && absl::IsDeadlineExceeded(status) && batch_->deadline.Expired(now);
  if (!by_another_row && !by_the_leaders_deadline) return status;
  if (limits_.deadline.Expired(now)) return TookTooLong();
  return std::nullopt;
}

BatchCall RequestBatcher::Row::Alone() const {
  return {batch_->Part(row_, 1), limits_};
}

}  // namespace inferpool::backend
