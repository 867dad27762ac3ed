// The cache of answers as requests use it.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "shared/board/scoreboard.h"
#include "worker/predict/cache_key.h"
#include "worker/predict/response_cache.h"

namespace inferpool::predict {

// A worker's own, shared by its threads; the answers are those of all workers. The arguments are
// those of its parts.
struct Cache {
  Cache(const std::string& folder, std::size_t entries, std::chrono::seconds time_to_live,
        int writer, const Config& config, CacheCounts& of_worker)
      : answers(folder, entries, time_to_live, writer), keys(config), counts(of_worker) {}

  ResponseCache answers;
  CacheKeys keys;
  CacheCounts& counts;
};

}  // namespace inferpool::predict
