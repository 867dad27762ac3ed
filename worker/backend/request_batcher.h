// Joins requests for one model that a worker has at the same time into one ModelInfer.
//
// No thread of its own: the first of a batch leads it and sends it, the others wait. Who joins and
// when a batch leaves is batch_policy.h's to decide: a lone request is never held up.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/batch_policy.h"
#include "worker/backend/infer_answer.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// Thread safe; outlives its rows.
class Aggregator {
  struct Batch;

 public:
  // One call's input: `rows` rows of `row_shape`, which has no batch dimension, back to back at
  // `offset` in `memory`.
  struct Rows {
    std::span<const std::int64_t> row_shape;
    int rows;
    std::shared_ptr<Lease> memory;
    std::size_t offset;
    std::size_t bytes;
  };
  using Answer = std::shared_ptr<const InferAnswer>;

  // Memory for an input; of nothing when there is none. Unless it is the `last` wish, a smaller one
  // follows. Quick; does not call the aggregator.
  using Allocate = std::function<Lease(std::size_t bytes, bool last)>;

  // Makes the call, in the thread of a request. Returns soon after the limits' deadline, and soon
  // after nobody waits. A batch's call is of its leader's trace. Retires the memory of a call that
  // the server may still be at. May run in several threads at once, also for parts of the same
  // memory.
  using Send = std::function<absl::StatusOr<Answer>(const Rows& rows, const CallLimits& limits)>;

  struct RowAnswer {
    Answer answer;
    int rows;  // of its batch
    int row;   // this one, for RowOf
  };

  // A request's place in a batch. Others wait for what is written to it: call Infer, or end it, as
  // soon as may be. One thread.
  class Row {
   public:
    Row(Row&& other) noexcept = default;
    Row& operator=(Row&&) = delete;
    ~Row();

    // To be filled in before Infer, and gone after it; has what was there before.
    std::span<std::byte> bytes() const;

    // Once. Returns soon after the request's deadline or its client's departure, but for a leader
    // whose client left: its thread serves the others of its batch to the end. A batch that fails
    // in a way that one row can be guilty of is sent again row by row, by each row's own thread; so
    // are rows with time left when the batch's deadline, which is the leader's, was too early for
    // them, and those behind a row that was not written in time. Errors: those of Send; CANCELLED
    // when the client left; DEADLINE_EXCEEDED.
    absl::StatusOr<RowAnswer> Infer();

   private:
    friend class Aggregator;
    Row(Aggregator& aggregator, std::shared_ptr<Batch> batch, int row, const CallLimits& limits);

    Aggregator* aggregator_;
    std::shared_ptr<Batch> batch_;  // null once it has its outcome, or was moved from
    int row_;
    CallLimits limits_;
  };

  Aggregator(BatchLimits limits, Allocate allocate, Send send);
  Aggregator(const Aggregator&) = delete;
  Aggregator& operator=(const Aggregator&) = delete;

  // A place for a row of that shape and size, which is not 0, in a batch or alone.
  // RESOURCE_EXHAUSTED when there is no memory for it.
  absl::StatusOr<Row> Join(std::span<const std::int64_t> row_shape, std::size_t row_bytes,
                           const CallLimits& limits);

 private:
  absl::StatusOr<std::shared_ptr<Batch>> Open(std::span<const std::int64_t> row_shape,
                                              std::size_t row_bytes, int rows, Deadline deadline);
  void Lead(const Row& row);
  void LeadOut(Batch& batch);
  bool Follow(const Row& row);
  void Leave(Batch& batch, int row);
  void End(Batch& batch, absl::StatusOr<Answer> outcome);
  absl::StatusOr<RowAnswer> Settle(const Row& row);
  absl::StatusOr<RowAnswer> SendAlone(const Row& row) const;

  const BatchLimits limits_;
  const Allocate allocate_;
  const Send send_;

  std::mutex mutex_;  // of all below, and of what changes in a batch
  BatchGate gate_;
  std::shared_ptr<Batch> open_;  // the one that rows may join
};

}  // namespace inferpool::backend
