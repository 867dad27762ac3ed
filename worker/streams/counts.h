// What a process counts of its shards, in the scoreboard.
#pragma once

#include "shared/base/status.h"
#include "shared/board/scoreboard.h"
#include "shared/board/stream_counts.h"
#include "shared/config/config.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/leases.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

StreamShard& CountsOf(const Scoreboard& board, int shard);

// An answer has been published, or a dead letter stored.
void CountStored(const Scoreboard& board, WorkerSlot& slot, const Outcome& outcome);

// Reads of the shards that we have their ledgers, how many frames wait, and what consumer groups
// have lost, and names the cameras with the most frames. No entry is read, as pictures are large:
// how long frames have waited is what `schedule` knows, which is told of what is found.
absl::Status ReadCounts(Redis& redis, const Leases& leases, Schedule& schedule,
                        const Config::Streams& settings, const Scoreboard& board);

}  // namespace inferpool::streams
