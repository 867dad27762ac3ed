// Tells the receiver of one rule of its events: a thread of its own, so that a slow receiver is
// waited for by nobody else. Thread safe.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "ops/rules/delivery_queue.h"
#include "ops/rules/webhook.h"
#include "shared/base/mutex.h"
#include "shared/board/rule_counts.h"
#include "shared/config/config.h"

namespace inferpool::rules {

class Receiver {
 public:
  struct Options {
    std::string rule;
    const Config::Rule& settings;
    RuleCounts& counts;
    // Called on any thread with an event that is done with: delivered, or given up.
    std::function<void(const Event&)> done;
  };

  // A try that is under way has so much time when the receiver stops.
  static constexpr std::chrono::seconds kGrace{2};

  explicit Receiver(Options options);
  ~Receiver();
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  void Put(Event event);

  // Forgets all events: they are somebody else's by now.
  void Clear();

  // Begins no further try. What is left stands in Redis.
  void Stop();

 private:
  void Run();
  void GiveUp(const Event& event, RuleEvent why);
  void SayHowItWent(const absl::Status& status);

  const Options options_;
  std::atomic<bool> aborting_ = false;
  Webhook webhook_;            // the thread's
  bool said_failing_ = false;  // likewise
  Mutex mutex_;
  std::condition_variable changed_;
  DeliveryQueue queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<TimePoint> stops_at_ ABSL_GUARDED_BY(mutex_);  // in the middle of a try
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace inferpool::rules
