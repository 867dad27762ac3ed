#include "ops/feeder/pacing.h"

#include <algorithm>

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A recording's time that goes further ahead at once is damaged.
constexpr MediaTime kLongestStep = seconds(60);
// One that lies further from zero is damaged. The difference of any two others has its place in a
// number of nanoseconds, of which 292 years have.
constexpr MediaTime kLongest = std::chrono::years(140);
// Times tremble, and are rounded, by some containers to milliseconds.
constexpr MediaTime kMostEarly = milliseconds(20);
constexpr Clock::duration kMostLate = seconds(1);

}  // namespace

MediaTime Timeline::Next(std::optional<MediaTime> own) {
  if (own && (*own > kLongest || *own < -kLongest)) own.reset();
  if (!latest_) {
    latest_ = MediaTime::zero();
    if (own) offset_ = -*own;
    return *latest_;
  }
  const MediaTime guess = *latest_ + step_;
  MediaTime time = guess;
  if (own) {
    if (offset_) time = *own + *offset_;
    if (!offset_ || time <= *latest_ || time > *latest_ + kLongestStep) {
      time = guess;
      offset_ = guess - *own;
    } else {
      step_ = std::min<MediaTime>(time - *latest_, seconds(1));
    }
  }
  latest_ = time;
  return time;
}

FrameRate::FrameRate(double most_per_second)
    : interval_(most_per_second > 0 ? static_cast<MediaTime::rep>(1e9 / most_per_second) : 0),
      early_(std::min(interval_ / 4, kMostEarly)) {}

bool FrameRate::Takes(MediaTime time) {
  if (due_ && time + early_ < *due_) return false;
  due_ = due_.value_or(time) + interval_;
  if (*due_ <= time) due_ = time + interval_;
  return true;
}

TimePoint Pace::Due(MediaTime time, TimePoint now) {
  if (!begin_ || *begin_ + time + kMostLate < now) begin_ = now - time;
  return *begin_ + time;
}

}  // namespace inferpool::feeder
