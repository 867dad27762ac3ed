// What becomes of frames that were worked on: answers are published, frames that are given up are
// dropped, and those that found no model are tried again. For the thread that talks to Redis.
//
// No camera holds the others up. What Redis does not take, as its key is of another type, is let
// go: the frame stays pending in Redis, and the shard, or the camera, rests before it is taken
// again. So does a frame that finds no model when others of the kind hold a quarter of the room.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/frame_queue.h"
#include "worker/streams/in_work.h"
#include "worker/streams/ingest.h"
#include "worker/streams/mode.h"
#include "worker/streams/ownership.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

class Answers {
 public:
  // The references must outlive it. `mode` is told of what the answers show.
  Answers(const IngestContext& context, Ownership& ownership, Schedule& schedule, InWork& in_work,
          FrameQueue& queue, Mode& mode);

  // Takes the outcomes out of the queue, where they may stay until settling is due. `stopping`:
  // what would be tried again is left to the next owner.
  void Collect(bool stopping);
  // One that no thread has made.
  void Add(Outcome outcome, TimePoint now);

  // Gives frames whose pause is over to the threads again.
  void TryAgain(TimePoint now);
  // Leaves all that would be tried again to the next owner.
  void TryNothingAgain();

  // The outcomes are worth a trip: they are many, or old, or no others will come.
  bool SettlingIsDue(bool stopping, TimePoint now) const;
  // Tells Redis of all outcomes that were collected, in one trip. When the connection breaks they
  // are kept and told again: Redis takes each only once.
  absl::Status Settle(Redis& redis);

  // When there is something to do if nothing happens; nullopt: never.
  std::optional<TimePoint> NextDue() const;

 private:
  // A frame that shall be tried again.
  struct Pausing {
    TimePoint at;
    Frame frame;
  };
  // A frame that was given back to Redis, and will be claimed again.
  struct GivenBack {
    std::string id;
    TimePoint read_at;
    int tries;
  };
  // What Redis does not take of a shard.
  struct Trouble {
    std::chrono::milliseconds pause;
    TimePoint until;
  };

  // When the first of all outcomes that are to be told came.
  TimePoint FirstOf(const FrameQueue::Progress& progress) const;
  bool IsTriedAgain(const Outcome& outcome) const;
  // The frame goes on counting its tries where it stood when it was given back.
  void Recall(Frame& frame);
  void Retry(Frame frame, TimePoint now);
  bool HasRoomForRetry(const Frame& frame) const;
  // What Redis said to a call. False: it has not taken its outcomes.
  absl::StatusOr<bool> Read(Reply reply, std::span<const std::size_t> outcomes, TimePoint now);
  // Redis has not taken this, nor what fails with it.
  void Refuse(const Outcome& outcome, const absl::Status& status, TimePoint now);
  // The shard of an answer that was refused rests, or the camera of what could not be dropped.
  void LetRest(const Outcome& outcome);

  const IngestContext& context_;
  Ownership& ownership_;
  Schedule& schedule_;
  InWork& in_work_;
  FrameQueue& queue_;
  Mode& mode_;

  std::vector<Outcome> outcomes_;
  std::optional<TimePoint> first_outcome_;
  std::vector<Pausing> retries_;
  std::map<std::string, GivenBack> given_back_;  // by camera
  std::map<std::pair<int, Outcome::What>, Trouble> troubles_;
};

}  // namespace inferpool::streams
