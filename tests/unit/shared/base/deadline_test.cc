#include "shared/base/deadline.h"

#include <gtest/gtest.h>

namespace inferpool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kNoon{std::chrono::hours(12)};

TEST(DeadlineTest, ExpiresAtItsPointAndNotBefore) {
  const Deadline deadline(kNoon);
  EXPECT_FALSE(deadline.Expired(kNoon - Clock::duration(1)));
  EXPECT_TRUE(deadline.Expired(kNoon));
  EXPECT_TRUE(deadline.Expired(kNoon + seconds(1)));
}

TEST(DeadlineTest, TimeLeftShrinksToZeroAndNeverBelow) {
  const Deadline deadline(kNoon);
  EXPECT_EQ(deadline.Left(kNoon - seconds(3)), seconds(3));
  EXPECT_EQ(deadline.Left(kNoon), Clock::duration::zero());
  EXPECT_EQ(deadline.Left(kNoon + seconds(3)), Clock::duration::zero());
}

TEST(DeadlineTest, AfterCountsFromNow) {
  const TimePoint before = Clock::now();
  const Deadline deadline = Deadline::After(milliseconds(250));
  const TimePoint after = Clock::now();
  EXPECT_GE(deadline.at(), before + milliseconds(250));
  EXPECT_LE(deadline.at(), after + milliseconds(250));
}

TEST(DeadlineTest, NeverDoesNotExpire) {
  EXPECT_FALSE(Deadline::Never().Expired(Clock::now() + std::chrono::hours(1'000'000)));
  EXPECT_GT(Deadline::Never().Left(Clock::now()), std::chrono::hours(1'000'000));
}

}  // namespace
}  // namespace inferpool
