#include "modelserver/execution/batch_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <string>

namespace inferpool::modelserver {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Sizes = std::vector<std::int64_t>;

TimePoint At(std::int64_t us) {
  return TimePoint(std::chrono::hours(1)) + microseconds(us);
}

BatchPolicy Dynamic(std::int64_t max_rows, Sizes preferred, std::int64_t delay_us = 0) {
  BatchPolicy policy;
  policy.dynamic = true;
  policy.max_rows = max_rows;
  policy.preferred = std::move(preferred);
  policy.delay = microseconds(delay_us);
  return policy;
}

struct Given {
  std::int64_t at_us = 0;
  std::uint64_t priority = 0;
  std::int64_t timeout_us = 0;
  Sizes shapes = {};
};

// A queue whose requests are named by letters: "a" came first.
class Line {
 public:
  explicit Line(BatchPolicy policy) : queue(std::move(policy)) {}

  absl::Status Push(std::int64_t rows, const Given& given = {}) {
    Queued& request = requests_.emplace_back();
    request.rows = rows;
    request.shapes = given.shapes;
    return queue.Push(request, given.priority, microseconds(given.timeout_us), At(given.at_us));
  }
  void PushAll(const Sizes& rows) {
    for (const std::int64_t count : rows) ASSERT_TRUE(Push(count).ok());
  }

  std::string Take(std::int64_t at_us = 0) { return Names(queue.Take(At(at_us))); }
  std::string Expire(std::int64_t at_us) { return Names(queue.Expire(At(at_us))); }

  Queued& operator[](char name) { return *std::next(requests_.begin(), name - 'a'); }

  BatchQueue queue;

 private:
  std::string Names(const std::vector<Queued*>& taken) const {
    std::string names;
    for (const Queued* one : taken) {
      char name = 'a';
      for (const Queued& request : requests_) {
        if (&request == one) names += name;
        ++name;
      }
    }
    return names;
  }

  std::list<Queued> requests_;
};

TEST(BatchQueueDelay, WhenItIsOverAllThatWaitsGoes) {
  BatchQueue queue(Dynamic(8, {4}, 1000));
  std::array<Queued, 6> requests;
  const TimePoint start{};
  for (Queued& request : requests) {
    ASSERT_TRUE(queue.Push(request, 0, {}, start).ok());
  }
  // As long as the delay is not over, the preferred size goes by itself.
  EXPECT_EQ(queue.Take(start + std::chrono::milliseconds(1)).size(), 6U);
  EXPECT_EQ(queue.size(), 0U);
  for (Queued& request : requests) {
    ASSERT_TRUE(queue.Push(request, 0, {}, start).ok());
  }
  EXPECT_EQ(queue.Take(start).size(), 4U);
  EXPECT_EQ(queue.Take(start).size(), 0U);
}

TEST(BatchQueue, IsEmptyAtFirst) {
  Line line(Dynamic(4, {4}));
  EXPECT_EQ(line.Take(), "");
  EXPECT_EQ(line.Expire(1'000'000), "");
  EXPECT_EQ(line.queue.size(), 0U);
}

TEST(BatchQueue, WithoutDynamicBatchingEachRequestGoesAlone) {
  BatchPolicy policy;
  policy.max_rows = 8;
  Line line(policy);
  line.PushAll({1, 8, 2});
  EXPECT_EQ(line.Take(), "a");
  EXPECT_EQ(line.Take(), "b");
  EXPECT_EQ(line.Take(), "c");
  EXPECT_EQ(line.Take(), "");
}

TEST(BatchQueue, WithoutADelayItSendsWhatThereIs) {
  Line line(Dynamic(8, {8}));
  line.PushAll({1, 2, 1});
  EXPECT_EQ(line.Take(), "abc");
  EXPECT_EQ(line.queue.size(), 0U);
}

TEST(BatchQueue, ABatchHoldsNoMoreThanTheMaximum) {
  Line line(Dynamic(8, {8}));
  line.PushAll({3, 3, 2, 1});
  EXPECT_EQ(line.Take(), "abc");
  EXPECT_EQ(line.Take(), "d");
}

TEST(BatchQueue, ARequestIsNeitherSplitNorSkipped) {
  Line line(Dynamic(4, {4}));
  line.PushAll({3, 2, 1, 1});
  EXPECT_EQ(line.Take(), "a");  // b does not fit, and c does not overtake it
  EXPECT_EQ(line.Take(), "bcd");
}

TEST(BatchQueue, ARequestOverTheMaximumIsInvalid) {
  Line line(Dynamic(4, {4}));
  EXPECT_TRUE(absl::IsInvalidArgument(line.Push(5)));
  EXPECT_EQ(line.queue.size(), 0U);
  EXPECT_TRUE(line.Push(4).ok());
}

TEST(BatchQueue, WaitsForThePreferredSizeUntilTheDelay) {
  Line line(Dynamic(8, {4}, 100));
  ASSERT_TRUE(line.Push(1, {.at_us = 0}).ok());
  EXPECT_EQ(line.Take(0), "");
  ASSERT_TRUE(line.Push(1, {.at_us = 60}).ok());
  EXPECT_EQ(line.Take(99), "");
  EXPECT_EQ(line.Take(100), "ab");  // the oldest decides
}

TEST(BatchQueue, AReachedPreferredSizeGoesAtOnce) {
  Line line(Dynamic(8, {4}, 100));
  line.PushAll({1, 1, 2});
  EXPECT_EQ(line.Take(), "abc");
}

TEST(BatchQueue, TheLargestPreferredSizeWithinReachGoes) {
  Line line(Dynamic(8, {2, 4}, 100));
  line.PushAll({1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(line.Take(), "abcd");
  EXPECT_EQ(line.Take(), "ef");
  EXPECT_EQ(line.Take(), "");
  EXPECT_EQ(line.Take(100), "g");
}

TEST(BatchQueue, NothingIsJoinedPastTheLargestPreferredSize) {
  Line line(Dynamic(8, {2, 6}, 100));
  ASSERT_TRUE(line.Push(3, {.at_us = 0}).ok());
  EXPECT_EQ(line.Take(0), "");
  ASSERT_TRUE(line.Push(4, {.at_us = 50}).ok());
  EXPECT_EQ(line.Take(50), "a");  // rather than 7 rows
  EXPECT_EQ(line.Take(149), "");
  EXPECT_EQ(line.Take(150), "b");

  Line without_delay(Dynamic(8, {2, 6}));
  without_delay.PushAll({3, 4, 7});
  EXPECT_EQ(without_delay.Take(), "a");
  EXPECT_EQ(without_delay.Take(), "b");
  EXPECT_EQ(without_delay.Take(), "c");  // larger by itself
}

TEST(BatchQueue, ReachedSizesGoBeforeALargestOneThatIsPassed) {
  Line line(Dynamic(8, {2, 6}, 100));
  line.PushAll({1, 1, 3, 2});
  EXPECT_EQ(line.Take(), "ab");
  EXPECT_EQ(line.Take(), "");  // 5 rows, which may still become 6
  EXPECT_EQ(line.Take(100), "cd");
}

TEST(BatchQueue, WhenTheDelayIsOverBatchesAreAsLargeAsTheyCanBe) {
  Line line(Dynamic(8, {2, 6}, 100));
  line.PushAll({3, 4, 1, 1});
  EXPECT_EQ(line.Take(100), "abc");
  EXPECT_EQ(line.Take(100), "d");
}

TEST(BatchQueue, ASmallerPreferredSizeIsNotLeftForALargerOneOutOfReach) {
  Line line(Dynamic(8, {2, 8}, 100));
  line.PushAll({2, 1});
  EXPECT_EQ(line.Take(), "a");
  EXPECT_EQ(line.Take(99), "");
}

TEST(BatchQueue, ABatchThatCannotGrowDoesNotWait) {
  Line line(Dynamic(4, {2}, 100));
  line.PushAll({1, 4});
  EXPECT_EQ(line.Take(), "a");
  EXPECT_EQ(line.Take(), "b");
}

TEST(BatchQueue, OtherShapesEndABatch) {
  Line line(Dynamic(8, {8}, 100));
  ASSERT_TRUE(line.Push(1, {.shapes = {3, 4}}).ok());
  ASSERT_TRUE(line.Push(1, {.shapes = {3, 4}}).ok());
  ASSERT_TRUE(line.Push(1, {.shapes = {4, 3}}).ok());
  ASSERT_TRUE(line.Push(1, {.shapes = {3, 4}}).ok());
  EXPECT_EQ(line.Take(), "ab");
  EXPECT_EQ(line.Take(), "c");
  EXPECT_EQ(line.Take(), "");  // d may still get company
  EXPECT_EQ(line.Take(100), "d");
}

// ---------------------------------------------------------------- levels

BatchPolicy Levels(std::uint64_t count, std::uint64_t default_level) {
  BatchPolicy policy = Dynamic(2, {2});
  policy.levels = count;
  policy.default_level = default_level;
  return policy;
}

TEST(BatchQueue, ServesLevelAfterLevelAndEachInOrder) {
  Line line(Levels(3, 2));
  for (const std::uint64_t priority : {3U, 2U, 1U, 3U, 1U}) {
    ASSERT_TRUE(line.Push(1, {.priority = priority}).ok());
  }
  EXPECT_EQ(line.Take(), "ce");
  EXPECT_EQ(line.Take(), "ba");  // a batch may span levels
  EXPECT_EQ(line.Take(), "d");
}

TEST(BatchQueue, NoPriorityAndAnUnknownOneMeanTheDefaultLevel) {
  Line line(Levels(3, 2));
  ASSERT_TRUE(line.Push(2, {.priority = 3}).ok());
  ASSERT_TRUE(line.Push(2, {.priority = 0}).ok());
  ASSERT_TRUE(line.Push(2, {.priority = 4}).ok());
  ASSERT_TRUE(line.Push(2, {.priority = 1}).ok());
  EXPECT_EQ(line.Take(), "d");
  EXPECT_EQ(line.Take(), "b");
  EXPECT_EQ(line.Take(), "c");
  EXPECT_EQ(line.Take(), "a");
}

TEST(BatchQueue, TheDelayCountsForTheOldestOfAllLevels) {
  BatchPolicy policy = Dynamic(8, {8}, 100);
  policy.levels = 2;
  Line line(policy);
  ASSERT_TRUE(line.Push(1, {.at_us = 0, .priority = 2}).ok());
  ASSERT_TRUE(line.Push(1, {.at_us = 90, .priority = 1}).ok());
  EXPECT_EQ(line.Take(99), "");
  EXPECT_EQ(line.Take(100), "ba");
}

TEST(BatchQueue, ThereMayBeAsManyLevelsAsNumbers) {
  constexpr std::uint64_t kLast = ~std::uint64_t{0};
  BatchPolicy policy = Levels(kLast, kLast - 1);
  policy.max_rows = 1;
  policy.preferred = {1};
  policy.queues[kLast] = {.max_size = 1};
  Line line(policy);
  ASSERT_TRUE(line.Push(1, {.priority = kLast}).ok());
  EXPECT_TRUE(absl::IsUnavailable(line.Push(1, {.priority = kLast})));
  ASSERT_TRUE(line.Push(1).ok());
  for (std::uint64_t priority = 200; priority > 100; --priority) {
    ASSERT_TRUE(line.Push(1, {.priority = priority * 1'000'000'000'000}).ok());
  }
  EXPECT_EQ(line.queue.size(), 102U);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(line.queue.Take(At(0)).at(0)->level, (101U + i) * 1'000'000'000'000);
  }
  EXPECT_EQ(line.Take(), "c");
  EXPECT_EQ(line.Take(), "a");
}

// ---------------------------------------------------------------- queue policies

BatchPolicy Timeout(QueuePolicy queue) {
  BatchPolicy policy = Dynamic(8, {8}, 1'000'000);
  policy.default_queue = queue;
  return policy;
}

TEST(BatchQueue, RejectFailsWhatHasExpiredAndNothingElse) {
  Line line(Timeout({.timeout = microseconds(100)}));
  ASSERT_TRUE(line.Push(1, {.at_us = 0}).ok());
  ASSERT_TRUE(line.Push(1, {.at_us = 50}).ok());
  EXPECT_EQ(line.Expire(99), "");
  EXPECT_EQ(line.Expire(100), "a");
  EXPECT_EQ(line.Expire(100), "");
  EXPECT_EQ(line.queue.size(), 1U);
  EXPECT_EQ(line.Take(1'000'050), "b");
}

TEST(BatchQueue, DelayServesWhatHasExpiredAfterTheRest) {
  BatchPolicy policy = Dynamic(1, {1});
  policy.default_queue = {.delay_expired = true, .timeout = microseconds(100)};
  Line line(policy);
  ASSERT_TRUE(line.Push(1, {.at_us = 0}).ok());
  ASSERT_TRUE(line.Push(1, {.at_us = 10}).ok());
  ASSERT_TRUE(line.Push(1, {.at_us = 90}).ok());
  EXPECT_EQ(line.Expire(150), "");
  EXPECT_EQ(line.queue.size(), 3U);
  ASSERT_TRUE(line.Push(1, {.at_us = 150}).ok());
  EXPECT_EQ(line.Take(150), "c");
  EXPECT_EQ(line.Take(150), "d");
  EXPECT_EQ(line.Take(150), "a");
  EXPECT_EQ(line.Take(150), "b");
}

TEST(BatchQueue, TheExpiredOfALevelStillGoBeforeTheNextLevel) {
  BatchPolicy policy = Levels(2, 1);
  policy.max_rows = 1;
  policy.preferred = {1};
  policy.default_queue = {.delay_expired = true, .timeout = microseconds(100)};
  Line line(policy);
  ASSERT_TRUE(line.Push(1, {.at_us = 150, .priority = 2}).ok());
  ASSERT_TRUE(line.Push(1, {.at_us = 0, .priority = 1}).ok());
  EXPECT_EQ(line.Expire(160), "");
  EXPECT_EQ(line.Take(160), "b");
  EXPECT_EQ(line.Take(160), "a");
}

TEST(BatchQueue, ARequestMayShortenItsTimeoutWherePolicyAllowsIt) {
  Line line(Timeout({.timeout = microseconds(100), .allow_timeout_override = true}));
  ASSERT_TRUE(line.Push(1, {.timeout_us = 40}).ok());
  ASSERT_TRUE(line.Push(1, {.timeout_us = 400}).ok());  // not lengthen it
  ASSERT_TRUE(line.Push(1).ok());
  EXPECT_EQ(line.Expire(39), "");
  EXPECT_EQ(line.Expire(40), "a");
  EXPECT_EQ(line.Expire(99), "");
  EXPECT_EQ(line.Expire(100), "bc");
}

TEST(BatchQueue, ARequestsOwnTimeoutCountsForNothingWithoutTheOverride) {
  Line bounded(Timeout({.timeout = microseconds(100)}));
  ASSERT_TRUE(bounded.Push(1, {.timeout_us = 40}).ok());
  EXPECT_EQ(bounded.Expire(99), "");
  EXPECT_EQ(bounded.Expire(100), "a");
  Line unbounded(Timeout({}));
  ASSERT_TRUE(unbounded.Push(1, {.timeout_us = 40}).ok());
  EXPECT_EQ(unbounded.Expire(3'600'000'000), "");
}

TEST(BatchQueue, ARequestMaySetATimeoutWhereThePolicyHasNone) {
  Line line(Timeout({.allow_timeout_override = true}));
  ASSERT_TRUE(line.Push(1, {.timeout_us = 40}).ok());
  ASSERT_TRUE(line.Push(1).ok());
  EXPECT_EQ(line.Expire(40), "a");
  EXPECT_EQ(line.Expire(3'600'000'000), "");
}

TEST(BatchQueue, AnAbsurdTimeoutIsJustALongOne) {
  Line line(Timeout({.allow_timeout_override = true}));
  ASSERT_TRUE(line.Push(1, {.timeout_us = std::numeric_limits<std::int64_t>::max()}).ok());
  EXPECT_EQ(line.Expire(60'000'000), "");
}

TEST(BatchQueue, LevelsHaveTheirOwnPolicies) {
  BatchPolicy policy = Timeout({.timeout = microseconds(100)});
  policy.levels = 3;
  policy.queues[1] = {.timeout = microseconds(50)};
  policy.queues[3] = {.max_size = 1};
  Line line(policy);
  ASSERT_TRUE(line.Push(1, {.priority = 1}).ok());
  ASSERT_TRUE(line.Push(1, {.priority = 2}).ok());
  ASSERT_TRUE(line.Push(1, {.priority = 3}).ok());
  EXPECT_TRUE(absl::IsUnavailable(line.Push(1, {.priority = 3})));
  EXPECT_EQ(line.Expire(50), "a");
  EXPECT_EQ(line.Expire(100), "b");
  EXPECT_EQ(line.Expire(3'600'000'000), "");
}

TEST(BatchQueue, AFullQueueIsUnavailableUntilThereIsRoom) {
  Line line(Timeout({.delay_expired = true, .timeout = microseconds(10), .max_size = 2}));
  ASSERT_TRUE(line.Push(1).ok());
  EXPECT_EQ(line.Expire(10), "");  // delayed, it still takes its place
  ASSERT_TRUE(line.Push(1, {.at_us = 10}).ok());
  EXPECT_TRUE(absl::IsUnavailable(line.Push(1, {.at_us = 10})));
  EXPECT_TRUE(line.queue.Remove(line['a']));
  EXPECT_TRUE(line.Push(1, {.at_us = 10}).ok());
}

TEST(BatchQueue, EachLevelHoldsWhatItsPolicySaysAndWithoutABoundAny) {
  BatchPolicy policy = Levels(2, 1);
  policy.queues[2] = {.max_size = 1000};
  Line line(policy);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(line.Push(1, {.priority = 2}).ok());
  EXPECT_TRUE(absl::IsUnavailable(line.Push(1, {.priority = 2})));
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(line.Push(1, {.priority = 1}).ok());
  EXPECT_EQ(line.queue.size(), 4000U);
}

// ---------------------------------------------------------------- leaving, and events

TEST(BatchQueue, ARemovedRequestIsGoneAndTheOthersKeepTheirPlaces) {
  Line line(Dynamic(8, {8}));
  line.PushAll({1, 1, 1});
  EXPECT_TRUE(line.queue.Remove(line['b']));
  EXPECT_FALSE(line.queue.Remove(line['b']));
  EXPECT_EQ(line.queue.size(), 2U);
  EXPECT_EQ(line.Take(), "ac");
  EXPECT_FALSE(line.queue.Remove(line['a']));
}

TEST(BatchQueue, ADelayedRequestCanBeRemoved) {
  Line line(Timeout({.delay_expired = true, .timeout = microseconds(10)}));
  ASSERT_TRUE(line.Push(1).ok());
  EXPECT_EQ(line.Expire(10), "");
  EXPECT_TRUE(line.queue.Remove(line['a']));
  EXPECT_EQ(line.queue.size(), 0U);
  EXPECT_EQ(line.Take(2'000'000), "");
}

TEST(BatchQueue, TheNextEventIsTheDelayOrTheExpiryWhicheverComesFirst) {
  BatchPolicy policy = Dynamic(8, {8}, 100);
  policy.default_queue = {.timeout = microseconds(150), .allow_timeout_override = true};
  Line line(policy);
  ASSERT_TRUE(line.Push(1, {.at_us = 10}).ok());
  ASSERT_TRUE(line.Push(1, {.at_us = 10, .timeout_us = 30}).ok());
  EXPECT_EQ(line.queue.NextEvent(line['a'], At(10)), At(110));
  EXPECT_EQ(line.queue.NextEvent(line['a'], At(110)), At(160));
  EXPECT_EQ(line.queue.NextEvent(line['a'], At(160)), std::nullopt);
  EXPECT_EQ(line.queue.NextEvent(line['b'], At(10)), At(40));
  EXPECT_EQ(line.queue.NextEvent(line['b'], At(40)), At(110));
}

TEST(BatchQueue, WithoutDelayOrTimeoutNothingHappensByItself) {
  BatchPolicy policy;
  Line line(policy);
  ASSERT_TRUE(line.Push(1).ok());
  EXPECT_EQ(line.queue.NextEvent(line['a'], At(0)), std::nullopt);
}

}  // namespace
}  // namespace inferpool::modelserver
