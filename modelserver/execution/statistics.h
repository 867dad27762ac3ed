// What one version of a model has done since it was loaded: KServe's ModelStatistics and the
// metrics of metrics.h. Thread safe; the lock is held only for the additions.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "modelserver/execution/model_executor.h"
#include "proto/kserve.pb.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// Upper bounds of a histogram's buckets, seconds: from a tenth of a millisecond to half a minute.
inline constexpr std::array<double, 17> kHistogramBounds = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};

struct Histogram {
  // Not cumulative; the last is what exceeds all bounds.
  std::array<std::uint64_t, kHistogramBounds.size() + 1> counts = {};
  double sum_s = 0;

  void Add(Clock::duration value);
};

struct Tally {
  std::uint64_t count = 0;
  Clock::duration time{};

  void Add(Clock::duration value) {
    ++count;
    time += value;
  }
};

class ModelStatistics {
 public:
  struct Batches {
    Tally compute_input, compute_infer, compute_output;
  };
  struct Values {
    Tally success, fail, queue, compute_input, compute_infer, compute_output;
    std::uint64_t inferences = 0;              // rows of successful requests
    std::uint64_t executions = 0;              // batches
    std::uint64_t last_inference_ms = 0;       // since 1970; 0: never
    std::map<std::uint64_t, Batches> batches;  // by rows; at most max_batch_size
    Histogram request_s, queue_s;
  };

  // A request that was answered after `total`.
  void Success(std::int64_t rows, Clock::duration total, const RunTimes& times);
  void Failure(Clock::duration total);
  // A batch that an instance, or an ensemble, has run.
  void Execution(std::int64_t rows, const RunTimes& times);

  Values Get() const;

 private:
  mutable Mutex mutex_;
  Values values_ ABSL_GUARDED_BY(mutex_);
};

// In the protocol's form; name and version are the caller's to add.
inference::ModelStatistics ToProto(const ModelStatistics::Values& values);

}  // namespace inferpool::modelserver
