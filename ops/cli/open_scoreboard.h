// The shared memory of a running pool, as commands read it.
#pragma once

#include <string>

#include "shared/base/status.h"
#include "shared/board/scoreboard.h"

namespace inferpool::ops {

// Opens the scoreboard of the pool in that state folder for reading: the master's memfd, through
// /proc, so that nobody has to answer. UNAVAILABLE: there is no pool. PERMISSION_DENIED: it is
// another user's.
absl::StatusOr<Scoreboard> OpenScoreboard(const std::string& state);

}  // namespace inferpool::ops
