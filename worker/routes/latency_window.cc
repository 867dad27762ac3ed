#include "worker/routes/latency_window.h"

#include <algorithm>
#include <cmath>

namespace inferpool::routes {
namespace {

constexpr std::size_t kMaxModels = 512;
constexpr double kPerDoubling = 4;

std::int64_t NumberOf(TimePoint now, Clock::duration slot) {
  return now.time_since_epoch() / slot;
}

}  // namespace

std::size_t LatencyWindow::BucketOf(Clock::duration took) {
  const double ms = std::chrono::duration<double, std::milli>(took).count();
  if (ms <= 1) return 0;
  const double bucket = std::ceil(std::log2(ms) * kPerDoubling);
  return std::min(kBuckets - 1, static_cast<std::size_t>(bucket));
}

void LatencyWindow::Add(Clock::duration took, TimePoint now) {
  const std::int64_t number = NumberOf(now, kSlot);
  Slot& slot = slots_[static_cast<std::size_t>(number) % kSlots];
  if (slot.at != number) slot = {.at = number, .counts = {}};
  ++slot.counts[BucketOf(took)];
}

std::optional<Clock::duration> LatencyWindow::Quantile(double part, TimePoint now) const {
  const std::int64_t number = NumberOf(now, kSlot);
  std::array<std::uint64_t, kBuckets> counts{};
  std::uint64_t all = 0;
  for (const Slot& slot : slots_) {
    if (slot.at < 0 || number - slot.at >= static_cast<std::int64_t>(kSlots)) continue;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      counts[i] += slot.counts[i];
      all += slot.counts[i];
    }
  }
  if (all < kEnough) return std::nullopt;
  const auto wanted =
      static_cast<std::uint64_t>(std::max(1.0, std::ceil(part * static_cast<double>(all))));
  std::uint64_t seen = 0;
  std::size_t bucket = 0;
  while ((seen += counts[bucket]) < wanted) ++bucket;
  const double ms = std::exp2(static_cast<double>(bucket) / kPerDoubling);
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(ms));
}

void ModelTimes::Add(const backend::ModelVersion& model, Clock::duration took, TimePoint now) {
  const MutexLock lock(mutex_);
  if (windows_.size() >= kMaxModels && !windows_.contains(model)) windows_.clear();
  windows_[model].Add(took, now);
}

std::optional<Clock::duration> ModelTimes::Quantile(const backend::ModelVersion& model, double part,
                                                    TimePoint now) const {
  const MutexLock lock(mutex_);
  const auto found = windows_.find(model);
  return found == windows_.end() ? std::nullopt : found->second.Quantile(part, now);
}

}  // namespace inferpool::routes
