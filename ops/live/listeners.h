// Who follows the answers of a camera, each with a short queue of its own. Thread safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ops/live/answer.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::live {

class Listeners;

// One of them; leaves at the end of its life. One thread takes, any may put.
class Listener {
 public:
  static constexpr std::size_t kMaxQueued = 64;
  static constexpr std::size_t kMaxQueuedBytes = std::size_t{256} << 10;

  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  struct Taken {
    std::vector<std::shared_ptr<const Answer>> answers;  // oldest first
    bool is_too_slow = false;  // more came than the queue holds: what is missing is lost to it
    bool is_over = false;      // nothing will come any more
  };
  Taken Take();

  // Forgets what is in the queue, and that it was too slow.
  void Restart();

  // Readable when there is something to take.
  int fd() const { return wakeup_.get(); }

 private:
  friend class Listeners;
  Listener(Listeners& listeners, std::string camera, std::string key, bool findings_only);

  void Put(const std::shared_ptr<const Answer>& answer);
  void End();
  void Wake() const;

  Listeners& listeners_;
  const std::string camera_;
  const std::string key_;
  const bool findings_only_;
  const FileDescriptor wakeup_;  // an eventfd
  Mutex mutex_;
  std::deque<std::shared_ptr<const Answer>> queue_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_too_slow_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_over_ ABSL_GUARDED_BY(mutex_) = false;
};

class Listeners {
 public:
  struct Limits {
    std::size_t all = 256;
    std::size_t of_a_key = 64;
  };

  Listeners() = default;
  explicit Listeners(const Limits& limits) : limits_(limits) {}
  // Keeps `count` at the number of listeners.
  explicit Listeners(std::atomic<std::uint32_t>& count) : count_(&count) {}

  // `key` is the name of whose listener it is; those without a name count among all alone. The
  // listeners must outlive theirs.
  // RESOURCE_EXHAUSTED: there are too many. UNAVAILABLE: End has been called, or there is no
  // descriptor left.
  absl::StatusOr<std::unique_ptr<Listener>> Join(std::string camera, std::string key,
                                                 bool findings_only);

  // Gives the answer to whoever follows its camera.
  void Put(const std::shared_ptr<const Answer>& answer);

  // Lets all go, and nobody in any more.
  void End();

  std::size_t size() const;

 private:
  friend class Listener;
  void Leave(const Listener& listener);

  void CountThem() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_ = {};
  std::atomic<std::uint32_t>* const count_ = nullptr;
  mutable Mutex mutex_;
  std::multimap<std::string, Listener*, std::less<>> by_camera_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::size_t> of_key_ ABSL_GUARDED_BY(mutex_);
  bool is_over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool::live
