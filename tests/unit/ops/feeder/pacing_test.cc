#include "ops/feeder/pacing.h"

#include <gtest/gtest.h>

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How many of a second's pictures of a source with `source_fps` are taken.
int TakenOfTenSeconds(double source_fps, double fps) {
  FrameRate rate(fps);
  int taken = 0;
  for (int i = 0; i < static_cast<int>(10 * source_fps); ++i) {
    // Rounded to milliseconds, as Matroska does.
    taken += rate.Takes(milliseconds(static_cast<int>(i * 1'000 / source_fps))) ? 1 : 0;
  }
  return taken;
}

TEST(FrameRateTest, TakesThatManyOfASecond) {
  EXPECT_EQ(TakenOfTenSeconds(25, 5), 50);
  EXPECT_EQ(TakenOfTenSeconds(25, 10), 100);
  EXPECT_EQ(TakenOfTenSeconds(30, 15), 150);
  EXPECT_EQ(TakenOfTenSeconds(30, 7), 70);
  EXPECT_EQ(TakenOfTenSeconds(25, 0.1), 1);
}

TEST(FrameRateTest, TakesAllOfASlowerSource) {
  EXPECT_EQ(TakenOfTenSeconds(25, 0), 250);
  EXPECT_EQ(TakenOfTenSeconds(25, 25), 250);
  EXPECT_EQ(TakenOfTenSeconds(29.97, 30), 299);
  EXPECT_EQ(TakenOfTenSeconds(2, 100), 20);
}

TEST(FrameRateTest, ACameraWhoseTimesTrembleLosesNothing) {
  FrameRate rate(25);
  int taken = 0;
  for (int i = 0; i < 250; ++i) taken += rate.Takes(milliseconds(40 * i + i % 3 * 4)) ? 1 : 0;
  EXPECT_EQ(taken, 250);
}

TEST(FrameRateTest, DoesNotMakeUpForAGap) {
  FrameRate rate(10);
  EXPECT_TRUE(rate.Takes(seconds(0)));
  EXPECT_TRUE(rate.Takes(seconds(5)));
  EXPECT_FALSE(rate.Takes(seconds(5) + milliseconds(40)));
  EXPECT_TRUE(rate.Takes(seconds(5) + milliseconds(100)));
}

TEST(TimelineTest, BeginsAtZeroWhereverTheRecordingDoes) {
  Timeline timeline;
  EXPECT_EQ(timeline.Next(seconds(1'000)), seconds(0));
  EXPECT_EQ(timeline.Next(seconds(1'001)), seconds(1));
}

TEST(TimelineTest, GoesOnWhereARecordingBeginsAnew) {
  Timeline timeline;
  for (int i = 0; i < 5; ++i) timeline.Next(milliseconds(20 * i));
  timeline.BeginAnew();
  EXPECT_EQ(timeline.Next(milliseconds(0)), milliseconds(100));
  EXPECT_EQ(timeline.Next(milliseconds(20)), milliseconds(120));
}

TEST(TimelineTest, TimesBeyondAllNumbersAreNone) {
  Timeline timeline;
  EXPECT_EQ(timeline.Next(seconds(0)), seconds(0));
  EXPECT_EQ(timeline.Next(MediaTime::max()), milliseconds(40));
  EXPECT_EQ(timeline.Next(MediaTime::min()), milliseconds(80));
}

TEST(TimelineTest, GrowsWithoutTimesAndOverJumps) {
  Timeline timeline;
  EXPECT_EQ(timeline.Next(std::nullopt), seconds(0));
  EXPECT_EQ(timeline.Next(std::nullopt), milliseconds(40));
  EXPECT_EQ(timeline.Next(seconds(7)), milliseconds(80));  // the first time there is
  EXPECT_EQ(timeline.Next(seconds(8)), milliseconds(1'080));
  EXPECT_EQ(timeline.Next(seconds(8)), milliseconds(2'080));  // the same once more
  EXPECT_EQ(timeline.Next(seconds(2)), milliseconds(3'080));  // back
  EXPECT_EQ(timeline.Next(seconds(1'000'000)), milliseconds(4'080));
  EXPECT_EQ(timeline.Next(seconds(1'000'000) + milliseconds(10)), milliseconds(4'090));
}

TEST(PaceTest, IsTheRecordingsOwn) {
  Pace pace;
  const TimePoint begin{seconds(100)};
  EXPECT_EQ(pace.Due(seconds(3), begin), begin);
  EXPECT_EQ(pace.Due(seconds(4), begin + milliseconds(10)), begin + seconds(1));
  // A little late, and the next one is due when it would have been.
  EXPECT_EQ(pace.Due(seconds(5), begin + milliseconds(2'500)), begin + seconds(2));
  EXPECT_EQ(pace.Due(seconds(6), begin + milliseconds(2'600)), begin + seconds(3));
}

TEST(PaceTest, DoesNotRunAfterWhatIsLost) {
  Pace pace;
  const TimePoint begin{seconds(100)};
  pace.Due(seconds(0), begin);
  const TimePoint late = begin + seconds(60);
  EXPECT_EQ(pace.Due(seconds(1), late), late);
  EXPECT_EQ(pace.Due(seconds(2), late), late + seconds(1));
}

}  // namespace
}  // namespace inferpool::feeder
