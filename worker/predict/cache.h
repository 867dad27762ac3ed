// The cache of answers, with everything that a request needs of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "shared/board/scoreboard.h"
#include "worker/predict/cache_key.h"
#include "worker/predict/response_cache.h"

namespace inferpool::predict {

// Each worker has one, which its threads share. All workers share the answers. Thread safe.
struct Cache {
  Cache(const std::string& folder, std::size_t entries, std::chrono::seconds time_to_live,
        int writer, const Config& config, CacheCounts& of_worker)
      : answers(folder, entries, time_to_live, writer), keys(config), counts(of_worker) {}

  ResponseCache answers;
  CacheKeys keys;
  CacheCounts& counts;
};

}  // namespace inferpool::predict
