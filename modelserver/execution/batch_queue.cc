#include "modelserver/execution/batch_queue.h"

#include <algorithm>
#include <limits>

#include "shared/base/check.h"

namespace inferpool::modelserver {
namespace {

// Levels that are kept while nothing waits in them. Each costs two queues.
constexpr std::size_t kKeptLevels = 16;

std::chrono::microseconds Micros(std::uint64_t count) {
  // Past a day nothing waits; and the clock's sums stay in range.
  constexpr std::chrono::microseconds kMaxWait = std::chrono::hours(24);
  return count < static_cast<std::uint64_t>(kMaxWait.count())
             ? std::chrono::microseconds(static_cast<std::int64_t>(count))
             : kMaxWait;
}

QueuePolicy PolicyOf(const inference::ModelQueuePolicy& policy) {
  return {.delay_expired = policy.timeout_action() == inference::ModelQueuePolicy::DELAY,
          .timeout = Micros(policy.default_timeout_microseconds()),
          .allow_timeout_override = policy.allow_timeout_override(),
          .max_size = policy.max_queue_size()};
}

// The request's own time-out may shorten the policy's, and set one where the policy has none.
std::chrono::microseconds TimeoutOf(const QueuePolicy& policy, std::chrono::microseconds own) {
  if (!policy.allow_timeout_override || own <= std::chrono::microseconds::zero()) {
    return policy.timeout;
  }
  own = std::min<std::chrono::microseconds>(own, std::chrono::hours(24));
  return policy.timeout == std::chrono::microseconds::zero() ? own : std::min(own, policy.timeout);
}

bool Expires(const QueuePolicy& policy) {
  return policy.allow_timeout_override || policy.timeout > std::chrono::microseconds::zero();
}

}  // namespace

BatchPolicy PolicyOf(const inference::ModelConfig& config) {
  BatchPolicy policy;
  policy.max_rows = std::max(config.max_batch_size(), 1);
  if (!config.has_dynamic_batching()) {
    return policy;
  }
  const inference::ModelDynamicBatching& batching = config.dynamic_batching();
  policy.dynamic = true;
  policy.preferred.assign(batching.preferred_batch_size().begin(),
                          batching.preferred_batch_size().end());
  std::ranges::sort(policy.preferred);
  if (policy.preferred.empty()) {
    policy.preferred.push_back(policy.max_rows);
  }
  policy.delay = Micros(batching.max_queue_delay_microseconds());
  policy.levels = std::max<std::uint64_t>(batching.priority_levels(), 1);
  policy.default_level =
      std::clamp<std::uint64_t>(batching.default_priority_level(), 1, policy.levels);
  policy.default_queue = PolicyOf(batching.default_queue_policy());
  for (const auto& [level, queue] : batching.priority_queue_policy()) {
    policy.queues[level] = PolicyOf(queue);
  }
  return policy;
}

std::size_t LargestQueue(const inference::ModelConfig& config) {
  const inference::ModelDynamicBatching& batching = config.dynamic_batching();
  std::size_t largest = batching.default_queue_policy().max_queue_size();
  for (const auto& [level, queue] : batching.priority_queue_policy()) {
    largest = std::max<std::size_t>(largest, queue.max_queue_size());
  }
  return largest;
}

BatchQueue::BatchQueue(BatchPolicy policy) : policy_(std::move(policy)) {
  CHECK(!policy_.dynamic || !policy_.preferred.empty());
  expires_ =
      Expires(policy_.default_queue) ||
      std::ranges::any_of(policy_.queues, [](const auto& queue) { return Expires(queue.second); });
}

absl::Status BatchQueue::Push(Queued& request, std::uint64_t priority,
                              std::chrono::microseconds timeout, TimePoint now) {
  if (request.rows > policy_.max_rows) {
    return InvalidArgument("the request has more rows than a batch");
  }
  // As Triton: a priority past the levels is the default one.
  request.level = priority == 0 || priority > policy_.levels ? policy_.default_level : priority;
  Level& level = LevelOf(request.level);
  const std::size_t max_size = level.policy.max_size;
  if (max_size > 0 && level.waiting.size() + level.delayed.size() >= max_size) {
    return absl::UnavailableError("Exceeds maximum queue size");
  }
  request.since = now;
  request.expires.reset();
  if (const auto allowed = TimeoutOf(level.policy, timeout);
      allowed > std::chrono::microseconds::zero()) {
    request.expires = now + allowed;
  }
  level.waiting.push_back(&request);
  ++size_;
  return absl::OkStatus();
}

bool BatchQueue::Remove(Queued& request) {
  Level& level = LevelOf(request.level);
  const std::size_t erased =
      std::erase(level.waiting, &request) + std::erase(level.delayed, &request);
  size_ -= erased;
  return erased > 0;
}

std::vector<Queued*> BatchQueue::Expire(TimePoint now) {
  std::vector<Queued*> rejected;
  if (!expires_) {
    return rejected;
  }
  for (auto& entry : levels_) {
    Level& level = entry.second;
    std::erase_if(level.waiting, [&](Queued* request) {
      if (!request->expires || *request->expires > now) {
        return false;
      }
      if (level.policy.delay_expired) {
        level.delayed.push_back(request);
      } else {
        rejected.push_back(request);
      }
      return true;
    });
  }
  size_ -= rejected.size();
  return rejected;
}

std::size_t BatchQueue::BatchSize(TimePoint now) const {
  const Queued* first = nullptr;
  std::int64_t rows = 0;
  std::size_t count = 0;
  std::size_t preferred = 0;  // requests in the largest preferred size, or before one is passed
  bool full = false;          // the batch cannot grow
  TimePoint oldest = TimePoint::max();
  const auto add = [&](const Queued& next) {
    if (first != nullptr) {
      if (preferred == 0 && rows + next.rows > policy_.preferred.back()) {
        preferred = count;
      }
      if (rows + next.rows > policy_.max_rows || next.shapes != first->shapes) {
        full = true;
        return;
      }
    }
    first = first == nullptr ? &next : first;
    rows += next.rows;
    ++count;
    oldest = std::min(oldest, next.since);
    full = !policy_.dynamic || rows == policy_.max_rows;
    if (std::ranges::binary_search(policy_.preferred, rows)) {
      preferred = count;
    }
  };
  for (const auto& [number, level] : levels_) {
    for (const std::deque<Queued*>* line : {&level.waiting, &level.delayed}) {
      for (auto next = line->begin(); next != line->end() && !full; ++next) {
        add(**next);
      }
    }
  }
  if (count == 0) {
    return 0;
  }
  const bool late = now - oldest >= policy_.delay;
  if (preferred > 0 && (!late || policy_.delay == std::chrono::microseconds::zero())) {
    return preferred;
  }
  if (full || late || rows >= policy_.preferred.back()) {
    return count;
  }
  return 0;
}

Queued* BatchQueue::PopFront() {
  for (auto& [number, level] : levels_) {
    for (std::deque<Queued*>* line : {&level.waiting, &level.delayed}) {
      if (!line->empty()) {
        Queued* request = line->front();
        line->pop_front();
        --size_;
        return request;
      }
    }
  }
  return nullptr;
}

BatchQueue::Level& BatchQueue::LevelOf(std::uint64_t level) {
  CHECK(level >= 1 && level <= policy_.levels);
  if (const auto found = levels_.find(level); found != levels_.end()) {
    return found->second;
  }
  if (levels_.size() >= kKeptLevels) {
    std::erase_if(levels_, [](const auto& entry) {
      return entry.second.waiting.empty() && entry.second.delayed.empty();
    });
  }
  const auto own = policy_.queues.find(level);
  const QueuePolicy& policy = own == policy_.queues.end() ? policy_.default_queue : own->second;
  return levels_.emplace(level, Level{.policy = policy, .waiting = {}, .delayed = {}})
      .first->second;
}

std::vector<Queued*> BatchQueue::Take(TimePoint now) {
  std::vector<Queued*> batch(size_ == 0 ? 0 : BatchSize(now));
  std::ranges::generate(batch, [this] { return PopFront(); });
  return batch;
}

std::optional<TimePoint> BatchQueue::NextEvent(const Queued& request, TimePoint now) const {
  std::optional<TimePoint> next;
  if (policy_.dynamic && request.since + policy_.delay > now) {
    next = request.since + policy_.delay;
  }
  if (request.expires && *request.expires > now) {
    next = next ? std::min(*next, *request.expires) : *request.expires;
  }
  return next;
}

}  // namespace inferpool::modelserver
