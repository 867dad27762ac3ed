// Follows the streams of results of all shards: one thread and one connection, on which Redis
// answers when there is something. While Redis is away it is tried again with growing pauses, and
// then read on from where it was. A shard's key that is no stream is left out, and looked at again
// every few seconds; the others are followed meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ops/live/answer.h"
#include "shared/base/deadline.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"
#include "shared/redis/redis.h"

namespace inferpool::live {

class Follower {
 public:
  struct Options {
    streams::RedisAddress address;
    int shards;
    // Both are called on the follower's thread. An old answer was there before the follower came.
    std::function<void(std::shared_ptr<const Answer>, bool is_old)> take;
    std::function<void()> idle = [] {};  // now and then
  };

  explicit Follower(Options options);
  // Stops the thread.
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Whether Redis answered the latest time.
  bool is_connected() const { return is_connected_.load(std::memory_order_relaxed); }

 private:
  void Run();
  absl::Status Follow();
  absl::Status FindNewest(streams::Redis& redis);
  // Finds out which keys are no streams.
  absl::Status SortOut(streams::Redis& redis);
  absl::Status ReadOn(streams::Redis& redis);
  void Take(const streams::Reply& entry, int shard, bool is_old);
  // Whether the follower shall stop, which it waits for.
  bool StopsWithin(std::chrono::milliseconds time) const;
  void SayAway(const absl::Status& status);

  const Options options_;
  std::vector<std::string> keys_;
  std::vector<EntryId> read_;   // the latest entry of each shard that was read
  std::vector<bool> left_out_;  // the shards whose keys are no streams
  TimePoint sort_out_at_ = TimePoint::max();
  bool has_begun_ = false;
  bool said_away_ = false;
  std::atomic<bool> is_connected_ = false;
  FileDescriptor stop_;  // an eventfd
  std::thread thread_;
};

}  // namespace inferpool::live
