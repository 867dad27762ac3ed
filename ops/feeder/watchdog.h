// Ends what a source waits for when it takes too long, or when we are asked to end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>

#include "shared/base/deadline.h"

namespace inferpool::feeder {

// FFmpeg asks it while it waits for a network. Thread safe.
class Watchdog {
 public:
  // `patience`: for a connection, and for each piece of what comes over it.
  Watchdog(std::stop_token stop, std::chrono::milliseconds patience)
      : stop_(std::move(stop)), patience_(patience) {}

  // Something is expected from now on, within the patience.
  void Begin();

  // We say goodbye, for which there is a moment even when we are asked to end.
  void BeginGoodbye();

  bool Bites() const;
  bool stopped() const { return stop_.stop_requested(); }
  const std::stop_token& stop() const { return stop_; }
  std::chrono::milliseconds patience() const { return patience_; }

  // Waits until `at`; false when we are asked to end.
  bool SleepUntil(TimePoint at) const;

 private:
  const std::stop_token stop_;
  const std::chrono::milliseconds patience_;
  std::atomic<std::int64_t> deadline_ns_ = 0;
  std::atomic<bool> goodbye_ = false;
};

}  // namespace inferpool::feeder
