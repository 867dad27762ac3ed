// Which cameras there are, and how each is to be treated: those of the configuration, and the
// members of a set in Redis.
#pragma once

#include <set>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"
#include "shared/redis/redis.h"
#include "worker/streams/leases.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

class Cameras {
 public:
  explicit Cameras(const Config::Streams& settings) : settings_(settings) {}

  // Looks at the set in Redis, which is due every two seconds.
  absl::Status Look(Redis& redis, TimePoint now);
  TimePoint next_look() const { return next_look_; }
  void LookSoon() { next_look_ = {}; }

  // Makes the schedule's cameras those of the shards that we have, and counts them.
  void SetIn(Schedule& schedule, const Leases& leases, const Scoreboard& board) const;

 private:
  CameraOptions OptionsOf(const std::string& id) const;

  const Config::Streams& settings_;
  std::set<std::string> in_redis_;  // as it was looked at last
  TimePoint next_look_{};
};

}  // namespace inferpool::streams
