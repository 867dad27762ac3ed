// The connections to Redis of an ingest process.
#pragma once

#include <chrono>
#include <string>

#include "shared/base/status.h"
#include "shared/config/config.h"
#include "shared/redis/redis.h"

namespace inferpool::streams {

// How long a blocking read may take. Its connection is given up when nothing comes for much longer.
inline constexpr std::chrono::milliseconds kBlock{5'000};
// With all other answers.
inline constexpr std::chrono::milliseconds kPatience{2'000};

struct Links {
  Redis work;            // scripts, and whatever is answered at once
  Redis waits;           // the blocking read
  Redis hears;           // what other processes say on the channel of changes
  std::string waits_id;  // the name of `waits` for CLIENT UNBLOCK
};

// All three, ready for use.
absl::StatusOr<Links> ConnectLinks(const Config::Streams& settings);

}  // namespace inferpool::streams
