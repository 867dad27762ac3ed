// Flow control of one ModelStreamInfer: how much of its client's requests the server has in work.
#pragma once

#include <condition_variable>
#include <cstddef>

#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// The requests of one stream that are in work or whose answers wait to be sent. It is enough for
// several full batches.
inline constexpr std::size_t kMaxInStream = 128;

// The bytes of these requests and, once they are there, of their answers.
inline constexpr std::size_t kMaxBytesInStream = std::size_t{256} << 20;

// Thread safe, but only one thread may call Acquire.
class StreamWindow {
 public:
  // Waits until the window has room for a request of `bytes`, and counts it. A request that is
  // larger than the whole window is let in when the window is empty.
  void Acquire(std::size_t bytes) {
    MutexLock lock(mutex_);
    changed_.wait(lock.native(), [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return requests_ == 0 || (requests_ < kMaxInStream && bytes_ + bytes <= kMaxBytesInStream);
    });
    ++requests_;
    bytes_ += bytes;
  }

  // A request has been answered: counts the answer's bytes in place of the request's.
  void Exchange(std::size_t request_bytes, std::size_t answer_bytes) {
    const MutexLock lock(mutex_);
    bytes_ += answer_bytes;
    bytes_ -= request_bytes;
    changed_.notify_one();
  }

  // An answer has been sent: counts it no more.
  void Release(std::size_t answer_bytes) {
    const MutexLock lock(mutex_);
    --requests_;
    bytes_ -= answer_bytes;
    changed_.notify_one();
  }

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  std::size_t requests_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::modelserver
