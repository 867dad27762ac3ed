// How long a model took lately: quantiles over the last minute. Decisions only; time comes in as an
// argument.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "worker/backend/rpc/model_directory.h"

namespace inferpool::routes {

// For one thread at a time.
class LatencyWindow {
 public:
  void Add(Clock::duration took, TimePoint now);

  // The time within which that part (0.9) of the last minute's was, at most 19 % too long. nullopt
  // when there were fewer than kEnough.
  std::optional<Clock::duration> Quantile(double part, TimePoint now) const;

  static constexpr int kEnough = 20;

 private:
  static constexpr std::chrono::seconds kSlot{10};
  static constexpr std::size_t kSlots = 6;
  // Four buckets for each doubling, from 1 ms to over an hour.
  static constexpr std::size_t kBuckets = 90;

  struct Slot {
    std::int64_t at = -1;
    std::array<std::uint32_t, kBuckets> counts{};
  };

  static std::size_t BucketOf(Clock::duration took);

  std::array<Slot, kSlots> slots_;
};

// The same of all models that routes lead to. Thread safe.
class ModelTimes {
 public:
  void Add(const backend::ModelVersion& model, Clock::duration took, TimePoint now);
  std::optional<Clock::duration> Quantile(const backend::ModelVersion& model, double part,
                                          TimePoint now) const;

 private:
  mutable Mutex mutex_;
  std::map<backend::ModelVersion, LatencyWindow> windows_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::routes
