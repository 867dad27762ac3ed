// Which waiting requests of a model run next, and when: Triton's dynamic batcher as a pure,
// clock-driven piece. No threads, no clock; scheduler.h drives it.
//
// Without `dynamic` each request is a batch of its own, first come, first served. With it:
//  - A batch is made of the oldest requests, never split, never over max_rows, never skipping one.
//    Where shapes may vary, a batch holds equal ones (Queued::shapes).
//  - It goes when it reaches the largest preferred size within reach, or cannot grow (the next
//    request does not fit or has other shapes). When the oldest has waited for `delay`, it goes
//    with all there is, preferred or not; with no delay it does not wait.
//  - Level 1 is served before level 2 and so on. A queue policy's time-out expires a request that
//    still waits: REJECT fails it, DELAY lets it wait behind the unexpired ones of its level.
// Source: Triton's model_config.proto (ModelDynamicBatching, ModelQueuePolicy) and its users'
// guide on batchers. Different here: expiry is punctual, as each request is looked at when
// NextEvent says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

struct QueuePolicy {
  bool delay_expired = false;            // else an expired request is rejected
  std::chrono::microseconds timeout{0};  // 0: none
  bool allow_timeout_override = false;
  std::size_t max_size = 0;  // 0: no bound
};

struct BatchPolicy {
  bool dynamic = false;
  std::int64_t max_rows = 1;            // max_batch_size, at least 1
  std::vector<std::int64_t> preferred;  // ascending, each 1 to max_rows
  std::chrono::microseconds delay{0};
  std::uint64_t levels = 1;  // of priority, 1 the highest
  std::uint64_t default_level = 1;
  QueuePolicy default_queue;
  std::map<std::uint64_t, QueuePolicy> queues;  // of levels that have their own
};

// What `config`, which passed CheckConfig, asks for.
BatchPolicy PolicyOf(const inference::ModelConfig& config);

// The largest max_queue_size that `config` has; 0: none.
std::size_t LargestQueue(const inference::ModelConfig& config);

// A waiting request. Its owner keeps it in place from Push until it was taken, removed or expired.
struct Queued {
  std::int64_t rows = 1;
  std::vector<std::int64_t> shapes;  // of its inputs, where a batch must have equal ones
  // Set by Push:
  std::uint64_t level = 1;
  TimePoint since{};
  std::optional<TimePoint> expires;
};

class BatchQueue {
 public:
  explicit BatchQueue(BatchPolicy policy);

  // `priority` and `timeout` are the request's own, 0: none. UNAVAILABLE when its level's queue
  // is full; INVALID_ARGUMENT when it has more than max_rows.
  absl::Status Push(Queued& request, std::uint64_t priority, std::chrono::microseconds timeout,
                    TimePoint now);

  // Whether it was still waiting; it does no more.
  bool Remove(Queued& request);

  // The requests that a REJECT policy fails by now; they wait no more.
  [[nodiscard]] std::vector<Queued*> Expire(TimePoint now);

  // The batch that an idle instance should run now; empty: none yet. After Expire(now).
  [[nodiscard]] std::vector<Queued*> Take(TimePoint now);

  // When, after `now`, a waiting `request` by itself makes Expire or Take answer differently: it
  // expires, or has waited for the delay. None: only a Push or an idle instance can.
  std::optional<TimePoint> NextEvent(const Queued& request, TimePoint now) const;

  std::size_t size() const { return size_; }
  const BatchPolicy& policy() const { return policy_; }

 private:
  struct Level {
    QueuePolicy policy;
    std::deque<Queued*> waiting;  // oldest first
    std::deque<Queued*> delayed;  // expired, in that order
  };

  Level& LevelOf(std::uint64_t level);
  // How many of the first in line make the batch to send now; 0: wait.
  std::size_t BatchSize(TimePoint now) const;
  Queued* PopFront();

  const BatchPolicy policy_;
  std::vector<Level> levels_;
  std::size_t size_ = 0;
  bool expires_ = false;  // some policy has, or lets requests have, a time-out
};

}  // namespace inferpool::modelserver
