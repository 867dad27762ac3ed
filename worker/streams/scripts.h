// The scripts that change what is owed (worker/streams/scripts). Each says in its head what it
// takes and returns. All first check that the caller has the shard's lease, then the types of the
// keys, and only then write: Redis does not undo a script that fails in its middle.
#pragma once

#include "shared/redis/redis.h"

namespace inferpool::streams {

const Script& AcquireScript();
const Script& RenewScript();
const Script& ReleaseScript();
const Script& HeartbeatScript();
const Script& PeekScript();
const Script& TakeScript();
const Script& PublishScript();
const Script& DropScript();
const Script& BlameScript();

}  // namespace inferpool::streams
