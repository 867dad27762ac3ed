// People who look at cameras: Redis says of which, and keeps the pictures for them.
#pragma once

#include <span>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/leases.h"
#include "worker/streams/looks.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

// Notes at which of the schedule's cameras somebody looks.
absl::Status SeeWhoLooks(Redis& redis, const Schedule& schedule, Looks& looks, TimePoint now);

// Stores the pictures that the outcomes have, of cameras whose shards we have. One that cannot be
// stored is missed by nobody for longer than a second.
absl::Status StoreSnapshots(Redis& redis, const Leases& leases, std::span<const Outcome> outcomes);

}  // namespace inferpool::streams
