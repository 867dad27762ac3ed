// Which shards are this process's: its heartbeat, by which all processes share them out alike, and
// the leases, which Redis keeps. For the thread that talks to Redis.
//
// All pools at one Redis need the same shards, cameras and names of fields: a process answers no
// camera that it does not know. When it sees one that is set up differently it says so once.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"
#include "shared/redis/redis.h"
#include "worker/streams/leases.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

class Ownership {
 public:
  // A shard that is lost takes its cameras out of `schedule`.
  Ownership(const Config::Streams& settings, const Scoreboard& board, Schedule& schedule);

  // Redis is there (again): others shall know at once that we are.
  void Arrive();

  bool BeatIsDue(TimePoint now) const { return now >= next_beat_; }
  // Says that we live, and finds out which shards we shall have. When Redis refuses that, as the
  // key is of another type, we go on with those that we have.
  absl::Status Beat(Redis& redis, TimePoint now);

  // Whether KeepLeases would give a shard back now. The blocking read must have been stopped then,
  // or it is given frames that are somebody else's.
  bool LetsGo(TimePoint now) const { return !leases_.WhatIsDue(now).release.empty(); }
  // Acquires, renews and releases what is due. True: shards came, or were given back.
  absl::StatusOr<bool> KeepLeases(Redis& redis, TimePoint now);

  // Reads what other processes said; `hears` has something to read.
  absl::Status Hear(Redis& hears);

  // We want no shard any more, and the others may have ours. Those of which a frame is in work are
  // kept until it is done. For good.
  absl::Status Leave(Redis& redis);

  // The shard turned out to be somebody else's.
  void Lose(int shard, TimePoint now);

  Leases& leases() { return leases_; }
  const Leases& leases() const { return leases_; }
  // When there is something to do if nothing happens.
  TimePoint NextDue() const;

 private:
  absl::Status Tell(Redis& redis) const;
  // Says what has come up, or is over: beats that are refused, and others that are set up
  // differently.
  void SayWhetherBeatIsRefused(const absl::Status& status);
  void SayWhetherOthersDiffer(std::span<const std::string> processes, TimePoint now);
  // Gives back what these processes had, and forgets them.
  absl::Status Bury(Redis& redis, std::span<const std::string> dead);

  const int shards_;
  const Scoreboard& board_;
  Schedule& schedule_;
  const std::string name_;  // among the processes
  Leases leases_;
  TimePoint next_beat_{};
  bool wakes_others_ = false;
  bool beat_is_refused_ = false;
  std::optional<TimePoint> others_differ_since_;
  bool said_others_differ_ = false;
  bool left_ = false;
};

}  // namespace inferpool::streams
