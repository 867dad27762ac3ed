// How long a request spent in each stage.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include "shared/base/deadline.h"
#include "shared/board/metrics.h"

namespace inferpool::api {

class Timings {
 public:
  using Duration = std::chrono::microseconds;

  void Set(Stage stage, Duration duration) { stages_[static_cast<std::size_t>(stage)] = duration; }

  // Adds what another thread's part of the request took.
  void Add(const Timings& part);

  // None for a stage that the request did not reach.
  const std::optional<Duration>& Get(Stage stage) const {
    return stages_[static_cast<std::size_t>(stage)];
  }

  // {"queue":0.21,...}: every stage in milliseconds, 0 where it was not reached.
  std::string Json() const;

  // The Server-Timing header's value (W3C): the stages that were reached.
  std::string ServerTiming() const;

 private:
  std::array<std::optional<Duration>, kStages> stages_;
};

// Sets the stage to the time between its construction and its end.
class StageTimer {
 public:
  StageTimer(Timings& timings, Stage stage) : timings_(timings), stage_(stage) {}
  ~StageTimer() {
    timings_.Set(stage_, std::chrono::duration_cast<Timings::Duration>(Clock::now() - start_));
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  Timings& timings_;
  Stage stage_;
  TimePoint start_ = Clock::now();
};

}  // namespace inferpool::api
