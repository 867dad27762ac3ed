// How long a request spent in each stage.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include "shared/base/deadline.h"
#include "shared/board/metrics.h"

namespace inferpool::http {

class StageTimes {
 public:
  using Duration = std::chrono::microseconds;

  void Set(Stage stage, Duration duration) { stages_[static_cast<std::size_t>(stage)] = duration; }

  // Adds to what the stage has taken so far.
  void Add(Stage stage, Duration duration) {
    Set(stage, Get(stage).value_or(Duration::zero()) + duration);
  }
  // Adds the times of a part of the request that another thread did.
  void Add(const StageTimes& part);

  // nullopt for a stage that the request did not reach.
  const std::optional<Duration>& Get(Stage stage) const {
    return stages_[static_cast<std::size_t>(stage)];
  }

  // {"queue":0.21,...}: every stage in milliseconds, 0 for one that was not reached.
  std::string Json() const;

  // The Server-Timing header's value (W3C): the stages that were reached.
  std::string ServerTiming() const;

 private:
  std::array<std::optional<Duration>, kStages> stages_;
};

// Adds the lifetime of the object to a stage's time.
class [[nodiscard]] StageTimer {
 public:
  StageTimer(StageTimes& times, Stage stage) : times_(times), stage_(stage) {}
  ~StageTimer() {
    times_.Add(stage_, std::chrono::duration_cast<StageTimes::Duration>(Clock::now() - start_));
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  StageTimes& times_;
  Stage stage_;
  TimePoint start_ = Clock::now();
};

}  // namespace inferpool::http
