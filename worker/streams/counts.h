// What a process counts of its shards, in the scoreboard.
#pragma once

#include "shared/base/status.h"
#include "shared/board/scoreboard.h"
#include "shared/board/stream_counts.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/leases.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

StreamShard& CountsOf(const Scoreboard& board, int shard);

// An answer has been stored, or a dead letter.
void CountStored(const Scoreboard& board, WorkerSlot& slot, const Outcome& outcome);

// Reads the ledgers of the shards that we have, and says what they are and how many frames wait.
absl::Status ReadLedgers(Redis& redis, const Leases& leases, const Schedule& schedule, int shards,
                         const Scoreboard& board);

}  // namespace inferpool::streams
