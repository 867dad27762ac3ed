#include "worker/streams/shares.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "shared/redis/names.h"

namespace inferpool::streams {

// Each shard goes to the process that it likes best (rendezvous hashing) of those that have room.
// With n processes a share is shards / n, and the remainder is one more for the first that get
// there.
std::vector<int> ShareOf(std::string_view process, std::span<const std::string> processes,
                         int shards) {
  std::vector<int> own;
  const std::size_t count = processes.size();
  if (count == 0) return own;
  const std::size_t share = static_cast<std::size_t>(shards) / count;
  std::size_t larger = static_cast<std::size_t>(shards) % count;  // shares that are one more
  std::vector<std::size_t> has(count, 0);
  for (int shard = 0; shard < shards; ++shard) {
    std::size_t best = count;
    std::uint64_t most = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (has[i] >= share + (larger > 0 ? 1 : 0)) continue;
      const std::uint64_t liking = PairHash(shard, processes[i]);
      if (best != count && (liking < most || (liking == most && processes[i] > processes[best]))) {
        continue;
      }
      best = i;
      most = liking;
    }
    if (++has[best] > share) --larger;
    if (processes[best] == process) own.push_back(shard);
  }
  return own;
}

}  // namespace inferpool::streams
