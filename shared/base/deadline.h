// The time by which the work on a request must be done.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace inferpool {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// Converts a point in time to the nanoseconds that shared memory holds, and back.
inline std::int64_t ToNs(TimePoint at) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}
inline TimePoint FromNs(std::int64_t ns) {
  return TimePoint(std::chrono::nanoseconds(ns));
}

class Deadline {
 public:
  explicit Deadline(TimePoint at) : at_(at) {}
  static Deadline After(Clock::duration time) { return Deadline(Clock::now() + time); }
  static Deadline Never() { return Deadline(TimePoint::max()); }

  TimePoint at() const { return at_; }
  bool Expired(TimePoint now) const { return now >= at_; }

  // The time left at `now`, or zero when the deadline has passed.
  Clock::duration Left(TimePoint now) const { return std::max(at_ - now, Clock::duration::zero()); }

 private:
  TimePoint at_;
};

}  // namespace inferpool
