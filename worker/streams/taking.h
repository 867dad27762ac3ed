// Takes frames: finds out which cameras have some, and has the script give one of each. For the
// thread that talks to Redis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/redis/redis.h"
#include "worker/streams/answers.h"
#include "worker/streams/entry.h"
#include "worker/streams/frame.h"
#include "worker/streams/in_work.h"
#include "worker/streams/ingest.h"
#include "worker/streams/ownership.h"
#include "worker/streams/schedule.h"
#include "worker/streams/waiting.h"

namespace inferpool::streams {

class Taking {
 public:
  // The references must outlive it.
  Taking(const IngestContext& context, const FieldNames& fields, Ownership& ownership,
         Schedule& schedule, InWork& in_work, Answers& answers);

  // Takes frames for as long as there are some and there is room. Cameras that `waiting` waits for
  // have none, and are not looked at while it rests; but each second they are, as the blocking read
  // of a process that is stopped may have been given theirs.
  absl::Status TakeAll(Redis& redis, const Waiting& waiting, TimePoint now);
  // Takes in what a blocking read was given.
  absl::Status TakeIn(Redis& redis, Received received, TimePoint now);

  // When frames were looked for the last time, there was room for more than there were: they come
  // one by one, and to wait for them costs less than to look.
  bool keeps_up() const { return keeps_up_; }
  // Frames may have been delivered and not taken, which a blocking read is not given again: all
  // cameras are looked at before the next one.
  void LookAtAll() {
    keeps_up_ = false;
    all_at_ = {};
  }

 private:
  // Finds out which cameras have frames, when no other is known that has one.
  absl::Status Look(Redis& redis, const Waiting& waiting, TimePoint now);
  absl::Status Take(Redis& redis, std::span<Camera* const> cameras, Received received,
                    TimePoint now);
  // How many bytes each shard's frames may have, that all together have no more than there is room
  // for. What is expected of its cameras is in it.
  std::map<int, std::int64_t> Budgets(const std::map<int, std::vector<Camera*>>& by_shard,
                                      const Received& received) const;
  // What the script gave of one shard's cameras.
  absl::Status Accept(Redis& redis, Reply reply, std::span<Camera* const> cameras,
                      Received& received, TimePoint now);
  // The crashes of threads that had the frame in their hands, as far as the pool remembers them: a
  // word for each. Empty: there was none.
  std::string CrashesOf(const Frame& frame) const;
  // A frame that crashed is worked on again, or given up when it did so too often.
  absl::Status Blame(Redis& redis, Frame frame, TimePoint now);

  const IngestContext& context_;
  const FieldNames& fields_;
  Ownership& ownership_;
  Schedule& schedule_;
  InWork& in_work_;
  Answers& answers_;
  bool keeps_up_ = false;
  // That a trip may bring: less after one that took too long.
  std::size_t trip_bytes_ = kMostBytes;
  TimePoint all_at_{};  // when all cameras are looked at, also those that are waited for
};

}  // namespace inferpool::streams
