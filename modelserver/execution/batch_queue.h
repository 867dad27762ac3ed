// Decides which waiting requests of a model run next, and when, as Triton's dynamic batcher does.
// Pure: it has no threads and no clock; the scheduler (scheduler.h) gives it the time.
//
// Without `dynamic` each request is a batch of its own, and the oldest one runs first. With it:
//  - A batch consists of the oldest requests. It splits no request, skips none, and has at most
//    max_rows rows. Where shapes may vary, all its requests have the same ones (Queued::shapes).
//  - A batch runs when it has the largest preferred size that the waiting requests allow. Where
//    they allow none, it runs when the next request would make it larger than the largest preferred
//    size, or has other shapes. When its oldest request has waited for `delay`, all that fits into
//    max_rows runs. When `delay` is 0, it never waits.
//  - Level 1 is served before level 2, and so on. When the time-out of a queue policy passes,
//    REJECT fails the waiting request, and DELAY moves it behind the other requests of its level.
// The rules are those of Triton's model_config.proto (ModelDynamicBatching, ModelQueuePolicy) and
// of its user guide on batchers. But here requests expire in time, because the scheduler wakes up
// when NextEvent says.
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
  bool delay_expired = false;            // DELAY; otherwise REJECT
  std::chrono::microseconds timeout{0};  // 0: requests do not expire
  bool allow_timeout_override = false;   // a request may have a shorter time-out of its own
  std::size_t max_size = 0;              // requests in one level's queue; 0: no limit
};

struct BatchPolicy {
  bool dynamic = false;
  std::int64_t max_rows = 1;            // max_batch_size, at least 1
  std::vector<std::int64_t> preferred;  // ascending, each 1 to max_rows
  std::chrono::microseconds delay{0};
  std::uint64_t levels = 1;  // priority levels, any number; 1 is the most urgent
  std::uint64_t default_level = 1;
  QueuePolicy default_queue;
  std::map<std::uint64_t, QueuePolicy> queues;  // by level, where it is not the default one
};

// The policy that `config` asks for. `config` has passed CheckConfig.
BatchPolicy PolicyOf(const inference::ModelConfig& config);

// The largest max_queue_size in `config`; 0 when it has none.
std::size_t LargestQueue(const inference::ModelConfig& config);

// A waiting request. It must not move or end between Push and the call that takes, removes or
// expires it.
struct Queued {
  std::int64_t rows = 1;
  std::vector<std::int64_t> shapes;  // the inputs' shapes where they may vary; otherwise empty
  // Set by Push:
  std::uint64_t level = 1;
  TimePoint since{};
  std::optional<TimePoint> expires;
};

// Not thread safe.
class BatchQueue {
 public:
  // `policy` is as PolicyOf makes it.
  explicit BatchQueue(BatchPolicy policy);

  // Adds a request. `priority` and `timeout` are the request's own; 0 stands for none. UNAVAILABLE
  // when the queue of its level is full; INVALID_ARGUMENT when it has more than max_rows rows.
  absl::Status Push(Queued& request, std::uint64_t priority, std::chrono::microseconds timeout,
                    TimePoint now);

  // Removes a request. False when it was not waiting.
  bool Remove(Queued& request);

  // Removes and returns the requests that have expired under a REJECT policy.
  [[nodiscard]] std::vector<Queued*> Expire(TimePoint now);

  // Removes and returns the batch that an idle instance should run now; empty when there is none
  // yet. Expire(now) must come first.
  [[nodiscard]] std::vector<Queued*> Take(TimePoint now);

  // The next time after `now` at which Expire or Take may return something because of this waiting
  // request alone: it expires, or has waited for the delay. nullopt when there is no such time;
  // then only another request or an idle instance changes anything.
  std::optional<TimePoint> NextEvent(const Queued& request, TimePoint now) const;

  std::size_t size() const { return size_; }
  const BatchPolicy& policy() const { return policy_; }

 private:
  struct Level {
    const QueuePolicy& policy;
    std::deque<Queued*> waiting;  // oldest first
    std::deque<Queued*> delayed;  // expired under DELAY, the first to expire first
  };

  // Makes the level if it is not there.
  Level& LevelOf(std::uint64_t level);
  // The number of the first requests that make the batch to run now; 0 when it is to wait.
  std::size_t BatchSize(TimePoint now) const;
  Queued* PopFront();

  const BatchPolicy policy_;
  std::map<std::uint64_t, Level> levels_;  // those with requests, and a few without
  std::size_t size_ = 0;
  bool expires_ = false;  // whether requests can have a time-out at all
};

}  // namespace inferpool::modelserver
