// The batch queue against a slow model of its contract, over many random policies and histories.

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <numeric>
#include <random>

#include "modelserver/execution/batch_queue.h"

namespace inferpool::modelserver {
namespace {

using std::chrono::microseconds;

// What the header promises, written down without any regard to speed.
class Reference {
 public:
  explicit Reference(BatchPolicy policy) : policy_(std::move(policy)) {}

  bool Full(std::uint64_t priority) const {
    const std::uint64_t level = LevelOf(priority);
    const std::size_t most = Policy(level).max_size;
    const auto waiting = std::ranges::count(waiting_, level, &Entry::level);
    return most > 0 && static_cast<std::size_t>(waiting) >= most;
  }

  void Push(Queued& request, std::uint64_t priority, microseconds timeout, TimePoint now) {
    const std::uint64_t level = LevelOf(priority);
    const QueuePolicy& queue = Policy(level);
    microseconds allowed = queue.timeout;
    if (queue.allow_timeout_override && timeout.count() > 0 &&
        (allowed.count() == 0 || timeout < allowed)) {
      allowed = timeout;
    }
    const TimePoint expires = allowed.count() == 0 ? TimePoint::max() : now + allowed;
    waiting_.push_back({&request, level, now, expires, ++arrivals_, 0});
  }

  bool Remove(const Queued& request) {
    return std::erase_if(waiting_, [&](const Entry& one) { return one.request == &request; }) > 0;
  }

  std::vector<Queued*> Expire(TimePoint now) {
    std::vector<Queued*> rejected;
    for (Entry& one : waiting_) {
      if (one.expires > now || one.delayed > 0) continue;
      if (Policy(one.level).delay_expired) {
        one.delayed = ++expiries_;
      } else {
        rejected.push_back(one.request);
      }
    }
    for (const Queued* one : rejected) Remove(*one);
    return rejected;
  }

  std::vector<Queued*> Take(TimePoint now) {
    std::vector<Entry> line = waiting_;
    std::ranges::sort(
        line, {}, [](const Entry& one) { return std::tuple(one.level, one.delayed, one.arrival); });
    std::size_t most = 0;  // the longest batch that is allowed
    std::size_t preferred = 0;
    for (std::size_t count = 1; count <= line.size() && Allowed(line, count); ++count) {
      most = count;
      const bool passes = policy_.dynamic && preferred == 0 && count < line.size() &&
                          Rows(line, count + 1) > policy_.preferred.back();
      if (passes || std::ranges::count(policy_.preferred, Rows(line, count)) > 0) preferred = count;
    }
    std::size_t chosen = 0;
    const bool late = most > 0 && policy_.delay > std::chrono::microseconds::zero() &&
                      now - Oldest(line, most) >= policy_.delay;
    if (preferred > 0 && !late) {
      chosen = preferred;
    } else if (most > 0 && (most < line.size() || Rows(line, most) == policy_.max_rows ||
                            !policy_.dynamic || Rows(line, most) > policy_.preferred.back() ||
                            now - Oldest(line, most) >= policy_.delay)) {
      chosen = most;
    }
    std::vector<Queued*> batch;
    for (std::size_t i = 0; i < chosen; ++i) {
      batch.push_back(line[i].request);
      Remove(*line[i].request);
    }
    return batch;
  }

  std::size_t size() const { return waiting_.size(); }
  Queued* Any(std::size_t index) const { return waiting_[index % waiting_.size()].request; }

 private:
  struct Entry {
    Queued* request;
    std::uint64_t level;
    TimePoint since, expires;
    int arrival;
    int delayed;  // the how-manieth that expired; 0: has not
  };

  std::uint64_t LevelOf(std::uint64_t priority) const {
    return priority >= 1 && priority <= policy_.levels ? priority : policy_.default_level;
  }
  const QueuePolicy& Policy(std::uint64_t level) const {
    return policy_.queues.contains(level) ? policy_.queues.at(level) : policy_.default_queue;
  }
  static std::int64_t Rows(const std::vector<Entry>& line, std::size_t count) {
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < count; ++i) rows += line[i].request->rows;
    return rows;
  }
  static TimePoint Oldest(const std::vector<Entry>& line, std::size_t count) {
    TimePoint oldest = line[0].since;
    for (std::size_t i = 0; i < count; ++i) oldest = std::min(oldest, line[i].since);
    return oldest;
  }
  bool Allowed(const std::vector<Entry>& line, std::size_t count) const {
    if (!policy_.dynamic) return count == 1;
    for (std::size_t i = 0; i < count; ++i) {
      if (line[i].request->shapes != line[0].request->shapes) return false;
    }
    return Rows(line, count) <= policy_.max_rows;
  }

  const BatchPolicy policy_;
  std::vector<Entry> waiting_;  // in order of arrival
  int arrivals_ = 0;
  int expiries_ = 0;
};

class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  template <typename T = int>
  T Roll(T least, T most) {
    return std::uniform_int_distribution<T>(least, most)(engine_);
  }
  bool Often() { return Roll(0, 3) > 0; }
  bool Rarely() { return Roll(0, 3) == 0; }

 private:
  std::mt19937 engine_;
};

QueuePolicy RandomQueue(Dice& dice) {
  return {.delay_expired = dice.Rarely(),
          .timeout = microseconds(dice.Rarely() ? dice.Roll(1, 60) : 0),
          .allow_timeout_override = dice.Rarely(),
          .max_size = dice.Rarely() ? dice.Roll<std::size_t>(1, 6) : 0};
}

BatchPolicy RandomPolicy(Dice& dice) {
  BatchPolicy policy;
  policy.dynamic = dice.Often();
  policy.max_rows = dice.Roll<std::int64_t>(1, 12);
  policy.default_queue = RandomQueue(dice);
  if (!policy.dynamic) return policy;
  for (std::int64_t rows = 1; rows <= policy.max_rows; ++rows) {
    if (dice.Rarely()) policy.preferred.push_back(rows);
  }
  if (policy.preferred.empty()) policy.preferred.push_back(policy.max_rows);
  policy.delay = microseconds(dice.Rarely() ? 0 : dice.Roll(1, 50));
  policy.levels = dice.Roll<std::uint64_t>(1, 3);
  policy.default_level = dice.Roll<std::uint64_t>(1, policy.levels);
  for (std::uint64_t level = 1; level <= policy.levels; ++level) {
    if (dice.Rarely()) policy.queues[level] = RandomQueue(dice);
  }
  return policy;
}

std::vector<Queued*> Sorted(std::vector<Queued*> requests) {
  std::ranges::sort(requests);
  return requests;
}

// One history; both must tell the same at every step.
void Play(unsigned seed) {
  Dice dice(seed);
  const BatchPolicy policy = RandomPolicy(dice);
  BatchQueue queue(policy);
  Reference reference(policy);
  std::list<Queued> requests;
  TimePoint now(std::chrono::hours(1));
  for (int step = 0; step < 300; ++step) {
    now += microseconds(dice.Rarely() ? dice.Roll(1, 40) : 0);
    const int kind = dice.Roll(0, 9);
    if (kind < 6) {
      Queued& request = requests.emplace_back();
      request.rows = dice.Roll<std::int64_t>(1, policy.max_rows);
      if (dice.Rarely()) request.shapes = {dice.Roll<std::int64_t>(0, 1)};
      const auto priority = dice.Roll<std::uint64_t>(0, policy.levels + 1);
      const microseconds timeout(dice.Rarely() ? dice.Roll(1, 60) : 0);
      const bool full = reference.Full(priority);
      const absl::Status status = queue.Push(request, priority, timeout, now);
      ASSERT_EQ(status.code(), full ? absl::StatusCode::kUnavailable : absl::StatusCode::kOk);
      if (!full) reference.Push(request, priority, timeout, now);
    } else if (kind == 6 && !requests.empty()) {
      Queued& request = dice.Rarely() || reference.size() == 0 ? requests.back()
                                                               : *reference.Any(dice.Roll(0, 9));
      ASSERT_EQ(queue.Remove(request), reference.Remove(request));
    } else {
      ASSERT_EQ(Sorted(queue.Expire(now)), Sorted(reference.Expire(now)));
      ASSERT_EQ(queue.Take(now), reference.Take(now));
    }
    ASSERT_EQ(queue.size(), reference.size());
  }
}

TEST(RandomBatchQueue, DoesWhatItsContractSays) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE(seed);
    Play(seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

// Who sleeps until the earliest NextEvent misses nothing.
TEST(RandomBatchQueue, NothingHappensBeforeTheNextEvent) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    BatchQueue queue(RandomPolicy(dice));
    std::list<Queued> requests;
    TimePoint now(std::chrono::hours(1));
    for (int i = dice.Roll(1, 8); i > 0; --i) {
      now += microseconds(dice.Roll(0, 10));
      Queued& request = requests.emplace_back();
      request.rows = dice.Roll<std::int64_t>(1, queue.policy().max_rows);
      const absl::Status pushed =
          queue.Push(request, dice.Roll<std::uint64_t>(0, 3), microseconds(dice.Roll(0, 60)), now);
      if (!pushed.ok()) requests.pop_back();
    }
    const auto forget = [&](const std::vector<Queued*>& gone) {
      requests.remove_if([&](const Queued& one) { return std::ranges::count(gone, &one) > 0; });
      return !gone.empty();
    };
    for (int events = 0; queue.size() > 0; ++events) {
      ASSERT_LT(events, 100) << "events that change nothing";
      forget(queue.Expire(now));
      while (forget(queue.Take(now))) {
      }
      TimePoint next = TimePoint::max();
      for (const Queued& request : requests) {
        next = std::min(next, queue.NextEvent(request, now).value_or(TimePoint::max()));
      }
      if (queue.size() == 0) break;
      ASSERT_LT(next, TimePoint::max()) << "requests wait for nothing";
      ASSERT_GT(next, now);
      const TimePoint before = next - std::chrono::nanoseconds(1);
      ASSERT_TRUE(queue.Expire(before).empty());
      ASSERT_TRUE(queue.Take(before).empty());
      now = next;
    }
  }
}

}  // namespace
}  // namespace inferpool::modelserver
