#include "ops/rules/delivery_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool::rules {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr TimePoint kBegin = TimePoint(std::chrono::hours(1));
constexpr std::int64_t kNowMs = 1'764'490'000'000;

class DeliveryQueueTest : public testing::Test {
 protected:
  std::optional<Event> Put(const std::string& id, std::int64_t at_ms = kNowMs) {
    return queue_.Put({.id = id, .at_ms = at_ms}, now_, kNowMs);
  }
  // The id of the event that is to be tried now; it is in hand.
  std::string Next() {
    const Event* const event = queue_.Next(now_);
    return event == nullptr ? "" : event->id;
  }

  TimePoint now_ = kBegin;
  DeliveryQueue queue_{1};
};

TEST_F(DeliveryQueueTest, TheOldestFirst) {
  EXPECT_EQ(Next(), "");
  EXPECT_FALSE(queue_.NextDue());
  Put("a");
  Put("b");
  EXPECT_EQ(queue_.NextDue(), now_);
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(queue_.Settle(/*taken=*/true, now_)->id, "a");
  EXPECT_EQ(Next(), "b");
  EXPECT_EQ(queue_.Settle(/*taken=*/true, now_)->id, "b");
  EXPECT_EQ(queue_.size(), 0U);
}

TEST_F(DeliveryQueueTest, OneThatFailsWaitsAndTheOthersDoNot) {
  Put("a");
  Put("b");
  EXPECT_EQ(Next(), "a");
  EXPECT_FALSE(queue_.Settle(/*taken=*/false, now_));
  EXPECT_EQ(Next(), "b");
  EXPECT_TRUE(queue_.Settle(/*taken=*/true, now_));
  EXPECT_EQ(Next(), "");
  const TimePoint due = *queue_.NextDue();
  EXPECT_GE(due, now_ + milliseconds(500));
  EXPECT_LE(due, now_ + seconds(1));
  now_ = due;
  Put("c");
  EXPECT_EQ(Next(), "c") << "a first try goes before";
  EXPECT_TRUE(queue_.Settle(/*taken=*/true, now_));
  EXPECT_EQ(Next(), "a");
}

TEST_F(DeliveryQueueTest, PausesDoubleAndTheLastTryIsTheTwelfth) {
  Put("a");
  milliseconds longest(1'000);
  for (int tries = 1; tries < 12; ++tries) {
    EXPECT_EQ(Next(), "a") << tries;
    EXPECT_FALSE(queue_.Settle(/*taken=*/false, now_)) << tries;
    const TimePoint due = *queue_.NextDue();
    EXPECT_GE(due - now_, longest / 2) << tries;
    EXPECT_LE(due - now_, longest) << tries;
    longest = std::min(longest * 2, milliseconds(minutes(5)));
    now_ = due;
  }
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(queue_.Settle(/*taken=*/false, now_)->id, "a") << "given up";
  EXPECT_EQ(queue_.size(), 0U);
}

TEST_F(DeliveryQueueTest, AnEventIsGivenUpWhenItIsAnHourOldWhereverItWasMeanwhile) {
  Put("old", kNowMs - 59 * 60'000);
  Put("new");
  EXPECT_TRUE(queue_.TakeExpired(now_).empty());
  now_ += minutes(1);
  const auto expired = queue_.TakeExpired(now_);
  ASSERT_EQ(expired.size(), 1U);
  EXPECT_EQ(expired[0].id, "old");
  EXPECT_EQ(queue_.size(), 1U);
}

TEST_F(DeliveryQueueTest, TheTryThatIsUnderWayMayEndAfterTheHour) {
  Put("a");
  EXPECT_EQ(Next(), "a");
  now_ += minutes(61);
  EXPECT_TRUE(queue_.TakeExpired(now_).empty());
  EXPECT_EQ(queue_.Settle(/*taken=*/false, now_)->id, "a") << "given up";
}

TEST_F(DeliveryQueueTest, TheOldestMakesRoomButNotTheOneInHand) {
  DeliveryQueue queue(1, {.events = 3});
  for (const char* id : {"a", "b", "c"}) {
    EXPECT_FALSE(queue.Put({.id = id, .at_ms = kNowMs}, now_, kNowMs));
  }
  EXPECT_EQ(queue.Next(now_)->id, "a");
  EXPECT_EQ(queue.Put({.id = "d", .at_ms = kNowMs}, now_, kNowMs)->id, "b");
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_EQ(queue.Settle(/*taken=*/true, now_)->id, "a");
}

TEST_F(DeliveryQueueTest, WhatIsForgottenIsNotSettled) {
  Put("a");
  EXPECT_EQ(Next(), "a");
  queue_.Clear();
  Put("b");
  EXPECT_FALSE(queue_.Settle(/*taken=*/true, now_));
  EXPECT_EQ(Next(), "b");
}

}  // namespace
}  // namespace inferpool::rules
