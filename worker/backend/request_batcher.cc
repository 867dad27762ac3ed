#include "worker/backend/request_batcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace inferpool::backend {
namespace {

// A row is written in a few milliseconds; who takes longer than this holds nobody up.
constexpr std::chrono::milliseconds kLongestWrite{50};

constexpr const char* kNobodyWaits = "nobody waits for the answer any more";
constexpr const char* kTooLong = "the batch took too long";

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

struct Aggregator::Batch {
  enum class State { kWriting, kWaiting, kLeft };

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

  Rows Part(int first, int count) const {
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

  // Guarded by the aggregator's mutex.
  std::vector<State> states;
  bool closed = false;
  std::optional<int> sent;  // rows, the first ones; all others are on their own
  std::optional<absl::StatusOr<Answer>> outcome;
  std::condition_variable_any changed;
};

Aggregator::Aggregator(BatchLimits limits, Allocate allocate, Send send)
    : limits_(limits), allocate_(std::move(allocate)), send_(std::move(send)), gate_(limits) {}

// ---- Joining

absl::StatusOr<Aggregator::Row> Aggregator::Join(std::span<const std::int64_t> row_shape,
                                                 std::size_t row_bytes, const CallLimits& limits) {
  const std::lock_guard lock(mutex_);
  const BatchGate::Part part = gate_.Arrive(row_shape, limits.deadline, Clock::now());
  std::shared_ptr<Batch> batch = open_;
  if (part != BatchGate::Part::kFollow) {
    const bool alone = part == BatchGate::Part::kAlone;
    absl::StatusOr<std::shared_ptr<Batch>> opened =
        Open(row_shape, row_bytes, alone ? 1 : limits_.max_rows, limits.deadline);
    if (!opened.ok()) {
      if (!alone) gate_.Close();
      gate_.Back();
      return opened.status();
    }
    batch = *std::move(opened);
    if (alone) {
      batch->closed = true;
    } else {
      gate_.Limit(static_cast<int>(batch->memory->bytes().size() / row_bytes));
      open_ = batch;
    }
  }
  const int row = static_cast<int>(batch->states.size());
  batch->states.push_back(Batch::State::kWriting);
  if (open_ != nullptr && !gate_.HasOpen()) {  // it is full
    open_->closed = true;
    open_->changed.notify_all();
    open_.reset();
  }
  return Row(*this, std::move(batch), row, limits);
}

absl::StatusOr<std::shared_ptr<Aggregator::Batch>> Aggregator::Open(
    std::span<const std::int64_t> row_shape, std::size_t row_bytes, int rows, Deadline deadline) {
  for (; rows > 0; rows /= 2) {
    std::size_t bytes = 0;
    if (__builtin_mul_overflow(row_bytes, static_cast<std::size_t>(rows), &bytes)) continue;
    if (Lease memory = allocate_(bytes, rows == 1)) {
      return std::make_shared<Batch>(row_shape, row_bytes, std::move(memory), deadline);
    }
  }
  return absl::ResourceExhaustedError("there is no memory for a tensor");
}

Aggregator::Row::Row(Aggregator& aggregator, std::shared_ptr<Batch> batch, int row,
                     const CallLimits& limits)
    : aggregator_(&aggregator), batch_(std::move(batch)), row_(row), limits_(limits) {}

std::span<std::byte> Aggregator::Row::bytes() const {
  const Rows part = batch_->Part(row_, 1);
  return part.memory->bytes().subspan(part.offset, part.bytes);
}

Aggregator::Row::~Row() {
  if (batch_ == nullptr) return;
  aggregator_->Leave(*batch_, row_);
  if (row_ != 0) return;
  // Without a leader the others are on their own.
  const std::lock_guard lock(aggregator_->mutex_);
  batch_->sent = 0;
  aggregator_->End(*batch_, absl::CancelledError("the batch was given up"));
}

// ---- Sending

absl::StatusOr<Aggregator::RowAnswer> Aggregator::Row::Infer() {
  if (row_ == 0) {
    aggregator_->Lead(*this);
  } else if (!aggregator_->Follow(*this)) {
    aggregator_->Leave(*std::exchange(batch_, nullptr), row_);
    if (limits_.departed.stop_requested()) return absl::CancelledError(kNobodyWaits);
    return absl::DeadlineExceededError(kTooLong);
  }
  absl::StatusOr<RowAnswer> answer = aggregator_->Settle(*this);
  batch_.reset();
  return answer;
}

void Aggregator::Lead(const Row& row) {
  Batch& batch = *row.batch_;
  LeadOut(batch);
  absl::StatusOr<Answer> outcome = absl::CancelledError(kNobodyWaits);
  {
    const std::stop_callback on_departure(row.limits_.departed, [&] { Leave(batch, row.row_); });
    if (!batch.nobody_waits.stop_requested()) {
      // Only the leader's thread, this one, sets `sent`.
      CallLimits limits = row.limits_;
      limits.departed = batch.nobody_waits.get_token();
      outcome = send_(batch.Part(0, *batch.sent), limits);
    }
  }
  const std::lock_guard lock(mutex_);
  End(batch, std::move(outcome));
}

// Returns when it is time to send the batch, with `sent` set.
void Aggregator::LeadOut(Batch& batch) {
  std::unique_lock lock(mutex_);
  batch.state(0) = Batch::State::kWaiting;
  while (!batch.closed && Clock::now() < gate_.LeaveAt()) {
    batch.changed.wait_until(lock, gate_.LeaveAt());
  }
  if (!batch.closed) {
    gate_.Close();
    batch.closed = true;
    open_.reset();
  }
  const TimePoint until = std::min(Clock::now() + kLongestWrite, batch.deadline.at());
  batch.changed.wait_until(lock, until,
                           [&] { return batch.Ready() == static_cast<int>(batch.states.size()); });
  batch.sent = batch.Ready();
  batch.changed.notify_all();  // for those who are not in it
}

// True when there is an outcome for the row, or the row is on its own; false when its time is over,
// or its client has left.
bool Aggregator::Follow(const Row& row) {
  Batch& batch = *row.batch_;
  std::unique_lock lock(mutex_);
  batch.state(row.row_) = Batch::State::kWaiting;
  batch.changed.notify_all();
  return batch.changed.wait_until(lock, row.limits_.departed, row.limits_.deadline.at(), [&] {
    return batch.outcome.has_value() || (batch.sent && row.row_ >= *batch.sent);
  });
}

void Aggregator::Leave(Batch& batch, int row) {
  {
    const std::lock_guard lock(mutex_);
    batch.state(row) = Batch::State::kLeft;
    batch.changed.notify_all();
    if (!batch.sent) return;
    const auto members = std::span(batch.states).first(static_cast<std::size_t>(*batch.sent));
    if (std::ranges::find(members, Batch::State::kWaiting) != members.end()) return;
  }
  batch.nobody_waits.request_stop();  // runs what Send has hung on it, in this thread
}

// With the mutex held.
void Aggregator::End(Batch& batch, absl::StatusOr<Answer> outcome) {
  batch.outcome = std::move(outcome);
  batch.changed.notify_all();
  if (!batch.closed) {
    gate_.Close();
    batch.closed = true;
    open_.reset();
  }
  gate_.Back();
  if (open_ != nullptr) open_->changed.notify_all();  // it may leave now
}

// ---- The outcome of one row

absl::StatusOr<Aggregator::RowAnswer> Aggregator::Settle(const Row& row) {
  if (row.limits_.departed.stop_requested()) return absl::CancelledError(kNobodyWaits);
  const Batch& batch = *row.batch_;
  std::optional<absl::StatusOr<Answer>> outcome;
  int sent = 0;
  {
    const std::lock_guard lock(mutex_);
    outcome = batch.outcome;
    sent = *batch.sent;
  }
  if (row.row_ >= sent) return SendAlone(row);
  if (outcome->ok()) return RowAnswer{**outcome, sent, row.row_};
  const absl::Status& status = outcome->status();
  const TimePoint now = Clock::now();
  const bool by_another_row = sent > 1 && MayBeOneRows(status);
  const bool by_the_leaders_deadline =
      row.row_ > 0 && absl::IsDeadlineExceeded(status) && batch.deadline.Expired(now);
  if (!by_another_row && !by_the_leaders_deadline) return status;
  if (row.limits_.deadline.Expired(now)) return absl::DeadlineExceededError(kTooLong);
  return SendAlone(row);
}

absl::StatusOr<Aggregator::RowAnswer> Aggregator::SendAlone(const Row& row) const {
  absl::StatusOr<Answer> answer = send_(row.batch_->Part(row.row_, 1), row.limits_);
  if (!answer.ok()) return answer.status();
  return RowAnswer{*std::move(answer), 1, 0};
}

}  // namespace inferpool::backend
