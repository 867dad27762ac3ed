// Reads cameras' answers by a consumer group of its own, notes in Redis what the rules make of
// them, and gives the events to the receivers. One thread.
//
//   Owner    of all processes at one Redis, one goes by the rules at a time: the one that has the
//            lease, whose token stands in each shard, where the script that notes events checks it.
//   Once     an answer and its events are settled by one script. So each answer is judged at least
//            once, and has its events exactly once, whenever a process dies.
//   Durable  an event stands in Redis until its receiver has taken it or it is given up. The next
//            owner begins with those that are there, and with the answers that its predecessor had
//            read and not settled. So an event is delivered at least once.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ops/rules/delivery_queue.h"
#include "ops/rules/receiver.h"
#include "shared/base/deadline.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "shared/board/rule_counts.h"
#include "shared/config/config.h"
#include "shared/redis/redis.h"

namespace inferpool::rules {

class Reader {
 public:
  struct Options {
    streams::RedisAddress address;
    int shards;
    const Config::Rules& rules;
    RuleTable& counts;
    // Called on the reader's thread when that changes: empty, or why the rules do not work now.
    std::function<void(std::string_view)> say_why_not = [](std::string_view) {};
  };

  explicit Reader(Options options);
  // Stops the thread and the receivers, and gives the lease back.
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

 private:
  class Notes;

  void Run();
  // Until the connection breaks or the reader stops, which is OK. Calls `works` when Redis does.
  absl::Status Work(const std::function<void()>& works);
  // Whether this process has the lease: renews it, or tries to get it.
  absl::StatusOr<bool> KeepLease(streams::Redis& redis);
  // In all shards: the token, and groups where they are missing. A shard whose results are no
  // stream is left out, until the next time; an error when there is no other.
  absl::Status Own(streams::Redis& redis);
  absl::Status LoadEvents(streams::Redis& redis);
  void Lose();
  // Answers that were read before and not settled; returns how many.
  absl::StatusOr<std::size_t> ReadPending(streams::Redis& redis);
  // The next answers, when they come, for as long as nothing else is due.
  absl::Status ReadNew(streams::Redis& redis, streams::Redis& waits);
  // Judges and settles the entries of an answer to XREADGROUP.
  absl::StatusOr<std::size_t> Take(streams::Redis& redis, const streams::Reply& reply);
  // A line now and then: events are lost.
  void SayLost(std::string_view why);
  absl::Status ForgetDone(streams::Redis& redis);
  streams::Arguments ReadCommand(std::string_view from, std::string_view block) const;
  void Done(const Event& event);
  // Until the reader is woken, at most so long.
  void Sleep(std::chrono::milliseconds time) const;
  void End();

  const Options options_;
  const std::string token_;
  const std::string count_;  // entries of a shard at once
  std::vector<std::string> results_;
  std::vector<bool> is_wrong_;  // by shard: its results are no stream
  std::map<std::string, std::unique_ptr<Receiver>, std::less<>> receivers_;
  bool is_owner_ = false;
  bool reads_pending_ = true;
  std::optional<TimePoint> waits_since_;  // a blocking read is out
  std::vector<std::string> last_read_;    // of each shard, where a lost group is made again
  TimePoint next_lease_{};
  TimePoint next_pending_{};
  TimePoint next_say_lost_{};
  FileDescriptor wake_;  // an eventfd
  std::atomic<bool> stopping_ = false;
  Mutex mutex_;
  std::vector<std::pair<int, std::string>> done_ ABSL_GUARDED_BY(mutex_);  // shard, entry
  std::thread thread_;
};

}  // namespace inferpool::rules
