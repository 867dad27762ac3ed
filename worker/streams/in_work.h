// The frames that were taken and are not done: how many, how large, and whether there is room for
// more. For the thread that talks to Redis.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared/board/scoreboard.h"
#include "worker/streams/frame.h"
#include "worker/streams/frame_queue.h"
#include "worker/streams/leases.h"
#include "worker/streams/looks.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

// Of frames that were taken and are not answered.
inline constexpr std::size_t kMostBytes = std::size_t{64} << 20;

class InWork {
 public:
  // Tells `leases` and `schedule` of each frame that begins and ends; threads take them out of
  // `queue`.
  InWork(FrameQueue& queue, Leases& leases, Schedule& schedule, Looks& looks,
         const Scoreboard& board);

  // How the threads work from now on.
  void SetWidth(Width width);

  // The camera's frame was taken, and goes to the threads with the next HandOver.
  void Begin(Camera& camera, Frame frame);
  void HandOver();
  // It was taken, and what becomes of it is known already.
  void Hold(Camera& camera, const Frame& frame, TimePoint now);
  // It is done, or somebody else's: its bytes are free.
  void End(const Frame& frame);
  // A thread took so long for one.
  void Worked(std::int64_t us);

  // The next frame has so many bytes; nothing is taken before there is room for it. One that is
  // larger than all has room when no other is in work. 0: there is no such frame.
  void WaitFor(std::size_t bytes) { awaited_bytes_ = bytes; }
  // There is such a frame, and no room for it yet.
  bool IsWaiting() const { return frames_ > 0 && awaited_bytes_ > bytes_left(); }

  // Room for so many that a trip is worth it.
  bool HasRoom() const {
    const bool has_bytes = frames_ == 0 || bytes_left() >= std::max<std::size_t>(awaited_bytes_, 1);
    return has_bytes && room() >= std::clamp<std::size_t>(depth() / 2, 1, FrameQueue::kFullTrip);
  }
  std::size_t room() const { return frames_ < depth() ? depth() - frames_ : 0; }
  std::size_t bytes_left() const { return bytes_ < kMostBytes ? kMostBytes - bytes_ : 0; }
  std::size_t frames() const { return frames_; }

 private:
  std::size_t depth() const { return Depth(threads_, frame_us_); }

  FrameQueue& queue_;
  Leases& leases_;
  Schedule& schedule_;
  Looks& looks_;
  const Scoreboard& board_;

  std::size_t threads_ = 1;
  std::vector<Frame> begun_;  // that are to be handed over
  std::size_t frames_ = 0;
  std::size_t bytes_ = 0;
  std::size_t awaited_bytes_ = 0;
  double frame_us_ = 20'000;  // of a thread, by those seen
};

}  // namespace inferpool::streams
