// The memory of models that run: blocks that are kept when they are freed, up to a bound.
#pragma once

#include <cstddef>
#include <list>
#include <map>

#include "shared/base/mutex.h"

namespace inferpool::ort {

// Gives out blocks of memory. A run takes and frees the same sizes again and again, and fresh
// memory costs a page fault for each 4 KiB. So a block of at least kMinKept bytes is kept when it
// is freed, and given out again where it is at most a quarter larger than what is asked for. When
// more than `max_kept` bytes are kept, those that were freed first go back to the kernel: what the
// largest input once needed is not held for ever, and no block is shared, so nothing is fragmented.
//
// Thread safe.
class BlockCache {
 public:
  static constexpr std::size_t kMinKept = std::size_t{128} << 10U;
  static constexpr std::size_t kAlignment = 64;  // as the runtime's kernels like it

  explicit BlockCache(std::size_t max_kept) : max_kept_(max_kept) {}
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // Returns `bytes` bytes, aligned to kAlignment; null when there is not enough memory. What is in
  // them is not defined.
  void* Take(std::size_t bytes);
  // Takes back what Take returned; null is taken too.
  void Give(void* memory);

  // The bytes that are kept now.
  std::size_t kept() const;

 private:
  struct Block;

  const std::size_t max_kept_;
  mutable Mutex mutex_;
  std::list<Block*> by_age_ ABSL_GUARDED_BY(mutex_);  // the first was freed first
  std::multimap<std::size_t, std::list<Block*>::iterator> by_size_ ABSL_GUARDED_BY(mutex_);
  std::size_t kept_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::ort
