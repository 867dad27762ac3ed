// Where the configuration says that Redis is, and who we are there.
#pragma once

#include "shared/config/config.h"
#include "shared/redis/redis.h"

namespace inferpool::streams {

// The password is the first line of the file, and is empty when that cannot be read.
RedisAddress AddressOf(const Config::Streams& settings);

}  // namespace inferpool::streams
