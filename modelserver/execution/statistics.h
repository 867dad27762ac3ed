// Counts what one version of a model has done since it was loaded, for the call ModelStatistics and
// for the metrics (metrics.h).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string_view>

#include "modelserver/execution/model_executor.h"
#include "proto/kserve.pb.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// The upper bounds of a histogram's buckets, in seconds.
inline constexpr std::array<double, 17> kHistogramBounds = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};

struct Histogram {
  // The number of values in each bucket. The last one counts the values over all bounds.
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

// Why a request failed, in Triton's words.
enum class FailureReason {
  kRejected,  // its model had no room for it, or it waited for too long
  kCanceled,  // its client left, or its deadline passed
  kBackend,   // its model could not run it
  kOther,     // it was not valid, or failed in a step of an ensemble
};
inline constexpr std::array<std::string_view, 4> kFailureReasonNames = {"REJECTED", "CANCELED",
                                                                        "BACKEND", "OTHER"};

// Thread safe. The lock is held only for the additions.
class ModelStatistics {
 public:
  struct Batches {
    Tally compute_input, compute_infer, compute_output;
  };
  struct Values {
    Tally success, fail, queue, compute_input, compute_infer, compute_output;
    std::array<std::uint64_t, kFailureReasonNames.size()> failures = {};  // by their reason
    std::uint64_t inferences = 0;              // rows of successful requests
    std::uint64_t executions = 0;              // batches that have run
    std::uint64_t last_inference_ms = 0;       // milliseconds since 1970; 0: never
    std::map<std::uint64_t, Batches> batches;  // by their number of rows
    Histogram request_s, queue_s;
  };

  // Counts a request that was answered after `total`.
  void Success(std::int64_t rows, Clock::duration total, const RunTimes& times);
  // Counts a request that failed after `total`.
  void Failure(FailureReason reason, Clock::duration total);
  // Counts a batch that an instance, or an ensemble, has run.
  void Execution(std::int64_t rows, const RunTimes& times);

  Values Get() const;

 private:
  mutable Mutex mutex_;
  Values values_ ABSL_GUARDED_BY(mutex_);
};

// The values as the protocol has them, without the model's name and version.
inference::ModelStatistics ToProto(const ModelStatistics::Values& values);

}  // namespace inferpool::modelserver
