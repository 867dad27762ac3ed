// When a picture is due, and which are taken: functions of the pictures' own times and of a clock
// that is passed in. For one thread at a time.
#pragma once

#include <chrono>
#include <optional>

#include "shared/base/deadline.h"

namespace inferpool::feeder {

using MediaTime = std::chrono::nanoseconds;

// The times of a source's pictures, which only grow: also where a recording begins anew, where its
// own times are missing, and where they jump.
class Timeline {
 public:
  // `own`: the picture's time in its recording.
  MediaTime Next(std::optional<MediaTime> own);

  // The recording begins anew: its next picture follows the latest one.
  void BeginAnew() { offset_.reset(); }

 private:
  std::optional<MediaTime> offset_;  // from a recording's own time to ours
  std::optional<MediaTime> latest_;
  MediaTime step_ = std::chrono::milliseconds(40);  // between the latest two
};

// Takes at most so many pictures of each second, evenly.
class FrameRate {
 public:
  explicit FrameRate(double most_per_second);  // 0: all

  // Whether the picture of this time is taken. Times must not decrease; they may tremble a little,
  // as a camera's do.
  bool Takes(MediaTime time);

 private:
  const MediaTime interval_;
  const MediaTime early_;  // so much before it is due one is taken
  std::optional<MediaTime> due_;
};

// Says when a recording's pictures are due, so that they come as from a camera.
class Pace {
 public:
  // When the picture of time `time` is due. Who is more than a second late has no time to catch up:
  // the pace begins anew at `now`.
  TimePoint Due(MediaTime time, TimePoint now);

 private:
  std::optional<TimePoint> begin_;
};

}  // namespace inferpool::feeder
