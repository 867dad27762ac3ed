#include "shared/monitor/prometheus_text.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace inferpool::monitor {
namespace {

TEST(PrometheusTextTest, WritesCountersAndGauges) {
  MetricFamily calls = Counter("calls_total", "Calls made");
  Add(calls, {{"event", "made"}}, 17);
  Add(calls, {{"event", "a \"quote\""}}, 0);
  EXPECT_EQ(PrometheusText({calls, Gauge("ready", "1 when ready", 1)}),
            "# HELP calls_total Calls made\n"
            "# TYPE calls_total counter\n"
            "calls_total{event=\"made\"} 17\n"
            "calls_total{event=\"a \\\"quote\\\"\"} 0\n"
            "# HELP ready 1 when ready\n"
            "# TYPE ready gauge\n"
            "ready 1\n");
}

TEST(PrometheusTextTest, AHistogramsBucketsAddUp) {
  MetricFamily times = Histogram("seconds", "Times");
  constexpr std::array<double, 2> kBounds{0.1, 1};
  constexpr std::array<std::uint64_t, 3> kCounts{2, 0, 3};
  AddHistogram(times, {{"stage", "read"}}, kBounds, kCounts, 12.5);
  EXPECT_EQ(PrometheusText({times}),
            "# HELP seconds Times\n"
            "# TYPE seconds histogram\n"
            "seconds_count{stage=\"read\"} 5\n"
            "seconds_sum{stage=\"read\"} 12.5\n"
            "seconds_bucket{stage=\"read\",le=\"0.1\"} 2\n"
            "seconds_bucket{stage=\"read\",le=\"1\"} 2\n"
            "seconds_bucket{stage=\"read\",le=\"+Inf\"} 5\n");
}

TEST(PrometheusTextDeathTest, ACountPerBucketIsNeeded) {
  MetricFamily times = Histogram("seconds", "Times");
  constexpr std::array<double, 2> kBounds{0.1, 1};
  constexpr std::array<std::uint64_t, 2> kCounts{2, 0};
  EXPECT_DEATH(AddHistogram(times, {}, kBounds, kCounts, 1), "CHECK failed");
  EXPECT_DEATH(Add(times, {}, 1), "CHECK failed");
}

}  // namespace
}  // namespace inferpool::monitor
