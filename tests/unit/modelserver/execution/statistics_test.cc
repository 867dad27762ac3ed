#include "modelserver/execution/statistics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace inferpool::modelserver {
namespace {

using std::chrono::milliseconds;

constexpr RunTimes kRunTimes = {.queue = milliseconds(1),
                                .compute_input = milliseconds(2),
                                .compute_infer = milliseconds(3),
                                .compute_output = milliseconds(4)};

TEST(ModelStatistics, AreZeroAtFirst) {
  const ModelStatistics statistics;
  const ModelStatistics::Values values = statistics.Get();
  EXPECT_EQ(values.success.count, 0U);
  EXPECT_EQ(values.fail.count, 0U);
  EXPECT_EQ(values.inferences, 0U);
  EXPECT_EQ(values.executions, 0U);
  EXPECT_EQ(values.last_inference_ms, 0U);
  EXPECT_TRUE(values.batches.empty());
}

TEST(ModelStatistics, ASuccessCountsItsRowsAndItsTimes) {
  ModelStatistics statistics;
  const auto before = std::chrono::system_clock::now().time_since_epoch();
  statistics.Success(3, milliseconds(11), kRunTimes);
  statistics.Success(2, milliseconds(12), kRunTimes);
  const ModelStatistics::Values values = statistics.Get();
  EXPECT_EQ(values.success.count, 2U);
  EXPECT_EQ(values.success.time, milliseconds(23));
  EXPECT_EQ(values.inferences, 5U);
  EXPECT_EQ(values.queue.time, milliseconds(2));
  EXPECT_EQ(values.compute_input.time, milliseconds(4));
  EXPECT_EQ(values.compute_infer.time, milliseconds(6));
  EXPECT_EQ(values.compute_output.time, milliseconds(8));
  EXPECT_GE(values.last_inference_ms,
            static_cast<std::uint64_t>(
                std::chrono::duration_cast<std::chrono::milliseconds>(before).count()));
}

TEST(ModelStatistics, AFailureIsNoInference) {
  ModelStatistics statistics;
  statistics.Failure(FailureReason::kCanceled, milliseconds(7));
  const ModelStatistics::Values values = statistics.Get();
  EXPECT_EQ(values.fail.count, 1U);
  EXPECT_EQ(values.fail.time, milliseconds(7));
  EXPECT_EQ(values.failures, (std::array<std::uint64_t, 4>{0, 1, 0, 0}));
  EXPECT_EQ(values.inferences, 0U);
  EXPECT_EQ(values.queue.count, 0U);
  EXPECT_EQ(values.last_inference_ms, 0U);
}

TEST(ModelStatistics, ExecutionsAreCountedByTheirRows) {
  ModelStatistics statistics;
  statistics.Execution(4, kRunTimes);
  statistics.Execution(4, kRunTimes);
  statistics.Execution(1, kRunTimes);
  const ModelStatistics::Values values = statistics.Get();
  EXPECT_EQ(values.executions, 3U);
  ASSERT_EQ(values.batches.size(), 2U);
  EXPECT_EQ(values.batches.at(4).compute_infer.count, 2U);
  EXPECT_EQ(values.batches.at(4).compute_infer.time, milliseconds(6));
  EXPECT_EQ(values.batches.at(1).compute_output.time, milliseconds(4));
}

TEST(ModelStatistics, OfManyThreadsAddUp) {
  ModelStatistics statistics;
  constexpr int kThreads = 4;
  constexpr int kEach = 1000;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        statistics.Success(2, milliseconds(1), kRunTimes);
        statistics.Execution(2, kRunTimes);
        statistics.Failure(FailureReason::kOther, milliseconds(1));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(statistics.Get().success.count, std::uint64_t{kThreads} * kEach);
  EXPECT_EQ(statistics.Get().fail.count, std::uint64_t{kThreads} * kEach);
  EXPECT_EQ(statistics.Get().inferences, std::uint64_t{2} * kThreads * kEach);
  EXPECT_EQ(statistics.Get().batches.at(2).compute_infer.count, std::uint64_t{kThreads} * kEach);
}

TEST(ModelStatistics, InTheProtocolsForm) {
  ModelStatistics statistics;
  statistics.Success(3, milliseconds(11), kRunTimes);
  statistics.Failure(FailureReason::kBackend, milliseconds(7));
  statistics.Execution(3, kRunTimes);
  const inference::ModelStatistics proto = ToProto(statistics.Get());
  EXPECT_EQ(proto.inference_count(), 3U);
  EXPECT_EQ(proto.execution_count(), 1U);
  EXPECT_GT(proto.last_inference(), 0U);
  EXPECT_EQ(proto.inference_stats().success().count(), 1U);
  EXPECT_EQ(proto.inference_stats().success().ns(), 11'000'000U);
  EXPECT_EQ(proto.inference_stats().fail().ns(), 7'000'000U);
  EXPECT_EQ(proto.inference_stats().queue().ns(), 1'000'000U);
  EXPECT_EQ(proto.inference_stats().compute_input().ns(), 2'000'000U);
  EXPECT_EQ(proto.inference_stats().compute_infer().ns(), 3'000'000U);
  EXPECT_EQ(proto.inference_stats().compute_output().ns(), 4'000'000U);
  // There is no cache of answers, but clients read both.
  ASSERT_TRUE(proto.inference_stats().has_cache_hit() && proto.inference_stats().has_cache_miss());
  EXPECT_EQ(proto.inference_stats().cache_hit().count(), 0U);
  EXPECT_EQ(proto.inference_stats().cache_miss().count(), 0U);
  ASSERT_EQ(proto.batch_stats_size(), 1);
  EXPECT_EQ(proto.batch_stats(0).batch_size(), 3U);
  EXPECT_EQ(proto.batch_stats(0).compute_infer().count(), 1U);
  EXPECT_EQ(proto.batch_stats(0).compute_infer().ns(), 3'000'000U);
}

TEST(Histogram, AValueOnABoundIsBelowIt) {
  Histogram histogram;
  histogram.Add(std::chrono::microseconds(100));  // the first bound
  histogram.Add(std::chrono::microseconds(101));
  histogram.Add(std::chrono::seconds(30));  // the last bound
  histogram.Add(std::chrono::seconds(31));
  EXPECT_EQ(histogram.counts[0], 1U);
  EXPECT_EQ(histogram.counts[1], 1U);
  EXPECT_EQ(histogram.counts[kHistogramBounds.size() - 1], 1U);
  EXPECT_EQ(histogram.counts[kHistogramBounds.size()], 1U);
  EXPECT_EQ(std::accumulate(histogram.counts.begin(), histogram.counts.end(), std::uint64_t{0}),
            4U);
  EXPECT_NEAR(histogram.sum_s, 61.000201, 1e-6);
}

}  // namespace
}  // namespace inferpool::modelserver
