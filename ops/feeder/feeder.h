// The whole feeder: a thread a source, one for Redis, and the line that tells how it goes.
#pragma once

#include "ops/feeder/settings.h"

namespace inferpool::feeder {

// What the program exits with.
enum class Exit {
  kDone = 0,          // all sources came to their end, or we were asked to end
  kSourceFailed = 1,  // a recording could not be read
  kUsage = 2,         // the command line or the configuration has to be changed
  kRefused = 3,       // Redis does not let us in
};

// Feeds until all sources are at their end, or SIGTERM or SIGINT. Call it before any thread is
// started. The log says why it ends with anything but kDone.
Exit Feed(Settings settings);

}  // namespace inferpool::feeder
