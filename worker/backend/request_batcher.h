// Joins requests for one model that a worker has at the same time into one ModelInfer.
//
// No thread of its own: the first row of a batch leads it, the others follow. The leader closes the
// batch, makes the call and finishes it with the outcome; its followers wait for that:
//
//   if (row.leads()) {
//     row.Finish(Call(row.Close()));
//   } else {
//     RETURN_IF_ERROR(row.AwaitFinish());
//   }
//   row.Outcome(), or when it has none, Call(row.Alone())
//
// Who joins and when a batch is sent is batch_policy.h's to decide: a lone request is never held
// up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "worker/backend/batch_policy.h"
#include "worker/backend/infer_answer.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/shm/arena.h"
#include "worker/backend/shm/tensor_memory.h"

namespace inferpool::backend {

// One call's input: `rows` rows of `row_shape`, which has no batch dimension, back to back at
// `offset` in `memory`.
struct BatchInput {
  std::span<const std::int64_t> row_shape;
  int rows;
  std::shared_ptr<Lease> memory;
  std::size_t offset;
  std::size_t bytes;
};

// A call to make, and how long it is worth making.
struct BatchCall {
  BatchInput input;
  CallLimits limits;
};

// The answer to one row.
struct RowAnswer {
  std::shared_ptr<const InferAnswer> answer;
  int rows;  // of its batch
  int row;   // this one, for RowOf
};

// Thread safe; outlives its rows.
class RequestBatcher {
  struct Batch;

 public:
  using BatchAnswer = absl::StatusOr<std::shared_ptr<const InferAnswer>>;

  // A request's row in a batch. The batch waits for it: fill it in, or destroy it, without delay.
  // For one thread.
  class Row {
   public:
    Row(Row&& other) noexcept = default;
    Row& operator=(Row&&) = delete;
    ~Row();

    // To be filled in first; has what was there before.
    std::span<std::byte> bytes() const;

    bool leads() const { return row_ == 0; }

    // Of the leader, once: waits until it is time to send the batch, and returns what to send. Rows
    // that are still being written then are left out, with those behind them. The deadline and the
    // trace are the leader's; `departed` is stopped when no row of the batch waits any more.
    BatchCall Close();

    // Of the leader, once, after Close: how the call ended.
    void Finish(BatchAnswer outcome);

    // Of a follower, once: waits until its leader has finished, or leaves it out. An error when the
    // row's own time is over (DEADLINE_EXCEEDED) or its client has left (CANCELLED).
    absl::Status AwaitFinish();

    // After Finish or AwaitFinish. None when the row is to be sent alone: it was left out, the
    // batch failed in a way that one row can be guilty of, or the leader's deadline was too early
    // for it.
    std::optional<absl::StatusOr<RowAnswer>> Outcome() const;

    // Only this row.
    BatchCall Alone() const;

   private:
    friend class RequestBatcher;
    Row(RequestBatcher& batcher, std::shared_ptr<Batch> batch, int row, CallLimits limits);

    RequestBatcher* batcher_;
    std::shared_ptr<Batch> batch_;  // null when moved from
    int row_;
    CallLimits limits_;
    bool done_ = false;  // the batch needs nothing more of this row
  };

  // `memory` is for the rows, and must outlive the batcher.
  RequestBatcher(BatchLimits limits, TensorMemory& memory);
  RequestBatcher(const RequestBatcher&) = delete;
  RequestBatcher& operator=(const RequestBatcher&) = delete;

  // A place for a row of that shape and size, which is not 0, in a batch or alone.
  // RESOURCE_EXHAUSTED when there is no memory for it.
  absl::StatusOr<Row> Join(std::span<const std::int64_t> row_shape, std::size_t row_bytes,
                           const CallLimits& limits);

 private:
  void Leave(Batch& batch, int row);
  void End(Batch& batch, BatchAnswer outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const BatchLimits limits_;
  TensorMemory& memory_;

  Mutex mutex_;  // also of what changes in a batch
  BatchPolicy policy_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Batch> open_ ABSL_GUARDED_BY(mutex_);  // the one that rows may join
};

}  // namespace inferpool::backend
