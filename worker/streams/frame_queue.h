// The frames that wait for a thread, and the outcomes that wait for the trip to Redis. Thread safe.
// It does not bound itself: who puts frames in takes no more than there is room for.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"
#include "worker/streams/frame.h"

namespace inferpool::streams {

class FrameQueue {
 public:
  void Put(Frame frame) {
    {
      const MutexLock lock(mutex_);
      frames_.push_back(std::move(frame));
    }
    came_.notify_one();
  }

  // The next frame; nullopt after Close, when there is none left.
  std::optional<Frame> Take() {
    MutexLock lock(mutex_);
    came_.wait(lock.native(), [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return closed_ || !frames_.empty();
    });
    if (frames_.empty()) return std::nullopt;
    std::optional<Frame> frame = std::move(frames_.front());
    frames_.pop_front();
    return frame;
  }

  void Finish(Outcome outcome) {
    {
      const MutexLock lock(mutex_);
      outcomes_.push_back(std::move(outcome));
    }
    Wake();
  }

  std::vector<Outcome> Outcomes() {
    const MutexLock lock(mutex_);
    return std::exchange(outcomes_, {});
  }

  std::size_t waiting() const {
    const MutexLock lock(mutex_);
    return frames_.size();
  }

  void Close() {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    came_.notify_all();
  }

  // Readable when there is an outcome, or somebody has called Wake, until Clear.
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
  FileDescriptor event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  mutable Mutex mutex_;
  std::condition_variable came_;
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mutex_);
  std::vector<Outcome> outcomes_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool::streams
