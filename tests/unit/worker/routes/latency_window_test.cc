#include "worker/routes/latency_window.h"

#include <gtest/gtest.h>

namespace inferpool::routes {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart = TimePoint(std::chrono::hours(5));

double Ms(std::optional<Clock::duration> time) {
  return time ? std::chrono::duration<double, std::milli>(*time).count() : -1;
}

TEST(LatencyWindowTest, AQuantileIsAtMostAFifthTooLong) {
  LatencyWindow window;
  for (int ms = 1; ms <= 100; ++ms) window.Add(milliseconds(ms), kStart);
  EXPECT_GE(Ms(window.Quantile(0.9, kStart)), 90);
  EXPECT_LE(Ms(window.Quantile(0.9, kStart)), 90 * 1.19);
  EXPECT_GE(Ms(window.Quantile(0.5, kStart)), 50);
  EXPECT_LE(Ms(window.Quantile(0.5, kStart)), 50 * 1.19);
}

TEST(LatencyWindowTest, AFewRequestsSayNothing) {
  LatencyWindow window;
  for (int i = 1; i < LatencyWindow::kEnough; ++i) window.Add(seconds(9), kStart);
  EXPECT_FALSE(window.Quantile(0.9, kStart));
  window.Add(seconds(9), kStart);
  EXPECT_TRUE(window.Quantile(0.9, kStart));
}

TEST(LatencyWindowTest, AMinuteLaterNothingIsLeftOfIt) {
  LatencyWindow window;
  for (int i = 0; i < 100; ++i) window.Add(seconds(9), kStart);
  EXPECT_TRUE(window.Quantile(0.9, kStart + seconds(49)));
  EXPECT_FALSE(window.Quantile(0.9, kStart + seconds(60)));
  for (int i = 0; i < 100; ++i) window.Add(milliseconds(10), kStart + seconds(60));
  EXPECT_LE(Ms(window.Quantile(1, kStart + seconds(60))), 12);
}

TEST(LatencyWindowTest, AnythingThatATimeCanBeIsCounted) {
  LatencyWindow window;
  for (int i = 0; i < 50; ++i) window.Add(Clock::duration(0), kStart);
  EXPECT_LE(Ms(window.Quantile(0.9, kStart)), 1);
  for (int i = 0; i < 500; ++i) window.Add(std::chrono::hours(1'000), kStart);
  EXPECT_GE(Ms(window.Quantile(0.9, kStart)), 3'600'000);
}

TEST(ModelTimesTest, EachVersionHasItsOwn) {
  ModelTimes times;
  for (int i = 0; i < 100; ++i) {
    times.Add({"a", "1"}, milliseconds(10), kStart);
    times.Add({"a", "2"}, milliseconds(1'000), kStart);
  }
  EXPECT_LE(Ms(times.Quantile({"a", "1"}, 0.9, kStart)), 12);
  EXPECT_GE(Ms(times.Quantile({"a", "2"}, 0.9, kStart)), 1'000);
  EXPECT_FALSE(times.Quantile({"a"}, 0.9, kStart));
}

}  // namespace
}  // namespace inferpool::routes
