#include "modelserver/execution/statistics.h"

#include <algorithm>
#include <chrono>

namespace inferpool::modelserver {
namespace {

void Set(const Tally& tally, inference::StatisticDuration& duration) {
  duration.set_count(tally.count);
  duration.set_ns(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(tally.time).count()));
}

}  // namespace

void Histogram::Add(Clock::duration value) {
  const double seconds = std::chrono::duration<double>(value).count();
  const auto* bound = std::ranges::lower_bound(kHistogramBounds, seconds);
  ++counts[static_cast<std::size_t>(bound - kHistogramBounds.begin())];
  sum_s += seconds;
}

void ModelStatistics::Success(std::int64_t rows, Clock::duration total, const RunTimes& times) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const MutexLock lock(mutex_);
  values_.success.Add(total);
  values_.queue.Add(times.queue);
  values_.compute_input.Add(times.compute_input);
  values_.compute_infer.Add(times.compute_infer);
  values_.compute_output.Add(times.compute_output);
  values_.inferences += static_cast<std::uint64_t>(rows);
  values_.last_inference_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  values_.request_s.Add(total);
  values_.queue_s.Add(times.queue);
}

void ModelStatistics::Failure(FailureReason reason, Clock::duration total) {
  const MutexLock lock(mutex_);
  ++values_.failures[static_cast<std::size_t>(reason)];
  values_.fail.Add(total);
}

void ModelStatistics::Execution(std::int64_t rows, const RunTimes& times) {
  const MutexLock lock(mutex_);
  ++values_.executions;
  Batches& batches = values_.batches[static_cast<std::uint64_t>(rows)];
  batches.compute_input.Add(times.compute_input);
  batches.compute_infer.Add(times.compute_infer);
  batches.compute_output.Add(times.compute_output);
}

ModelStatistics::Values ModelStatistics::Get() const {
  const MutexLock lock(mutex_);
  return values_;
}

inference::ModelStatistics ToProto(const ModelStatistics::Values& values) {
  inference::ModelStatistics proto;
  proto.set_last_inference(values.last_inference_ms);
  proto.set_inference_count(values.inferences);
  proto.set_execution_count(values.executions);
  inference::InferStatistics& requests = *proto.mutable_inference_stats();
  Set(values.success, *requests.mutable_success());
  Set(values.fail, *requests.mutable_fail());
  Set(values.queue, *requests.mutable_queue());
  Set(values.compute_input, *requests.mutable_compute_input());
  Set(values.compute_infer, *requests.mutable_compute_infer());
  Set(values.compute_output, *requests.mutable_compute_output());
  Set({}, *requests.mutable_cache_hit());  // there is no response cache
  Set({}, *requests.mutable_cache_miss());
  for (const auto& [rows, batches] : values.batches) {
    inference::InferBatchStatistics& batch = *proto.add_batch_stats();
    batch.set_batch_size(rows);
    Set(batches.compute_input, *batch.mutable_compute_input());
    Set(batches.compute_infer, *batch.mutable_compute_infer());
    Set(batches.compute_output, *batch.mutable_compute_output());
  }
  return proto;
}

}  // namespace inferpool::modelserver
