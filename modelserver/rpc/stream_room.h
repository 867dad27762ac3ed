// How much of one stream may be in work at a time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace inferpool::modelserver {

// Requests of one stream that are in work or whose answers wait to be sent: enough for several full
// batches. And their bytes, of the requests and, once they are there, the answers.
inline constexpr std::size_t kMaxInStream = 128;
inline constexpr std::size_t kMaxBytesInStream = std::size_t{256} << 20;

// Thread safe; one thread enters.
class StreamRoom {
 public:
  // Waits until a request fits, and lets it in. One that is larger than all of it fits alone.
  void Enter(std::size_t bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return requests_ == 0 || (requests_ < kMaxInStream && bytes_ + bytes <= kMaxBytesInStream);
    });
    ++requests_;
    bytes_ += bytes;
  }

  // A request has become its answer.
  void Exchange(std::size_t request_bytes, std::size_t answer_bytes) {
    const std::lock_guard lock(mutex_);
    bytes_ += answer_bytes;
    bytes_ -= request_bytes;
    changed_.notify_one();
  }

  // An answer has been sent.
  void Leave(std::size_t answer_bytes) {
    const std::lock_guard lock(mutex_);
    --requests_;
    bytes_ -= answer_bytes;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::size_t requests_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace inferpool::modelserver
