// What becomes of frames that were worked on: answers are published, frames that are given up are
// dropped, and those that found no model are tried again. For the thread that talks to Redis.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
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

namespace inferpool::streams {

class Answers {
 public:
  // The references must outlive it. `mode` is told of what the answers show.
  Answers(const IngestContext& context, Ownership& ownership, InWork& in_work, FrameQueue& queue,
          Mode& mode);

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
  // Tells Redis of all outcomes that were collected, in one trip. Whatever breaks it, they are kept
  // and told again: Redis takes each only once.
  absl::Status Settle(Redis& redis);

  // When there is something to do if nothing happens; nullopt: never.
  std::optional<TimePoint> NextDue() const;

 private:
  // A frame that shall be tried again.
  struct Retry {
    TimePoint at;
    Frame frame;
  };

  // When the first of all outcomes that are to be told came.
  TimePoint FirstOf(const FrameQueue::Progress& progress) const;
  bool IsTriedAgain(const Outcome& outcome) const;
  // What Redis said to a call. False: its outcomes are to be told again.
  absl::StatusOr<bool> Read(Reply reply, std::span<const std::size_t> outcomes);

  const IngestContext& context_;
  Ownership& ownership_;
  InWork& in_work_;
  FrameQueue& queue_;
  Mode& mode_;

  std::vector<Outcome> outcomes_;
  std::optional<TimePoint> first_outcome_;
  TimePoint settle_after_{};
  std::vector<Retry> retries_;
};

}  // namespace inferpool::streams
