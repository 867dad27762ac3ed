// The frames that wait for a thread, and the outcomes that wait for the trip to Redis. Thread safe.
// It does not bound itself: who puts frames in takes no more than there is room for.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"
#include "worker/streams/frame.h"
#include "worker/streams/mode.h"

namespace inferpool::streams {

class FrameQueue {
 public:
  // So many outcomes are worth a trip of their own.
  static constexpr std::size_t kFullTrip = 32;

  void Put(std::vector<Frame> frames) {
    {
      const MutexLock lock(mutex_);
      std::ranges::move(frames, std::back_inserter(frames_));
    }
    came_.notify_one();
  }

  // How many threads may be at work, and how many frames one takes. Before the first frame, and
  // whenever it changes.
  void SetWidth(Width width) {
    {
      const MutexLock lock(mutex_);
      if (width == width_) return;
      width_ = width;
    }
    came_.notify_all();
  }

  // The next frames for a thread, without waiting for more; none after Close, when there is none
  // left. The thread is at work until Finish.
  std::vector<Frame> Take() {
    MutexLock lock(mutex_);
    came_.wait(lock.native(), [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return (closed_ && frames_.empty()) || MayTakeLocked();
    });
    if (frames_.empty()) return {};
    const auto end =
        frames_.begin() + static_cast<std::ptrdiff_t>(std::min(width_.group, frames_.size()));
    std::vector<Frame> taken(std::move_iterator(frames_.begin()), std::move_iterator(end));
    frames_.erase(frames_.begin(), end);
    ++threads_at_work_;
    if (MayTakeLocked()) came_.notify_one();  // the next thread goes on
    return taken;
  }

  // The reader is woken by the first outcome, when there are enough for a trip, and when all frames
  // are done; not by each.
  void Finish(std::vector<Outcome> outcomes) {
    bool wakes = false;
    bool goes_on = false;
    {
      const MutexLock lock(mutex_);
      const std::size_t before = outcomes_.size();
      if (before == 0) first_outcome_ = Clock::now();
      --threads_at_work_;
      goes_on = MayTakeLocked();
      std::ranges::move(outcomes, std::back_inserter(outcomes_));
      wakes =
          before == 0 || IsDoneLocked() || (before < kFullTrip && outcomes_.size() >= kFullTrip);
    }
    if (goes_on) came_.notify_one();
    if (wakes) Wake();
  }

  // Takes all outcomes.
  std::vector<Outcome> Outcomes() {
    const MutexLock lock(mutex_);
    first_outcome_.reset();
    return std::exchange(outcomes_, {});
  }

  struct Progress {
    std::size_t outcomes = 0;                  // that wait
    std::optional<TimePoint> first_outcome{};  // when it came
    bool is_done = false;                      // no frame waits or is worked on
  };
  Progress progress() const {
    const MutexLock lock(mutex_);
    return {outcomes_.size(), first_outcome_, IsDoneLocked()};
  }

  void Close() {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    came_.notify_all();
  }

  // Readable when there is something to do for the reader, or somebody has called Wake, until
  // Clear.
  int fd() const { return event_.get(); }
  void Wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof(one));
  }
  void Clear() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(event_.get(), &count, sizeof(count));
  }

 private:
  bool IsDoneLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return frames_.empty() && threads_at_work_ == 0;
  }
  bool MayTakeLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !frames_.empty() && threads_at_work_ < width_.threads;
  }

  FileDescriptor event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  mutable Mutex mutex_;
  std::condition_variable came_;
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mutex_);
  Width width_ ABSL_GUARDED_BY(mutex_){.threads = 1, .group = 1};
  std::size_t threads_at_work_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Outcome> outcomes_ ABSL_GUARDED_BY(mutex_);
  std::optional<TimePoint> first_outcome_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool::streams
