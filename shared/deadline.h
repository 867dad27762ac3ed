// A point in time until which a request's work must be done.
#pragma once

#include <algorithm>
#include <chrono>

namespace inferpool {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

class Deadline {
 public:
  explicit Deadline(TimePoint at) : at_(at) {}
  static Deadline After(Clock::duration time) { return Deadline(Clock::now() + time); }
  static Deadline Never() { return Deadline(TimePoint::max()); }

  TimePoint at() const { return at_; }
  bool Expired(TimePoint now) const { return now >= at_; }

  // The time left at `now`; zero when it is over.
  Clock::duration Left(TimePoint now) const { return std::max(at_ - now, Clock::duration::zero()); }

 private:
  TimePoint at_;
};

}  // namespace inferpool
