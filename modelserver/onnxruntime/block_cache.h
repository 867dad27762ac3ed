// The memory of models that run: blocks that are kept when they are freed, up to a bound.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <map>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::ort {

// Gives out blocks of memory. A run takes and frees the same sizes again and again, and fresh
// memory costs a page fault for each 4 KiB, which can be a third of the run. So a block of at least
// kMinKept bytes is kept when it is freed, and given out again where it is at most a quarter larger
// than what is asked for. In all there is no more than what was in use at one time during the last
// kMemory, or what is in use now and `max_kept` bytes besides; above that, blocks that were freed
// first go back to the kernel. So what the largest input once needed is not held for ever while
// models run, and as no block is shared, nothing is fragmented.
//
// Thread safe.
class BlockCache {
 public:
  static constexpr std::size_t kMinKept = std::size_t{128} << 10U;
  static constexpr std::size_t kAlignment = 64;       // as the runtime's kernels like it
  static constexpr std::chrono::seconds kMemory{10};  // at least; at most twice that

  // No more than `max_in_use` bytes of such blocks are out at one time.
  explicit BlockCache(std::size_t max_kept,
                      std::size_t max_in_use = std::numeric_limits<std::size_t>::max())
      : max_kept_(max_kept), max_in_use_(max_in_use) {}
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // Returns `bytes` bytes, aligned to kAlignment and with any contents; null when there is not
  // enough memory, or when more than max_in_use would be out.
  void* Take(std::size_t bytes, TimePoint now = Clock::now());
  // Takes back what Take returned; null is taken too.
  void Give(void* memory, TimePoint now = Clock::now());

  // The bytes that are kept now.
  std::size_t kept() const;

 private:
  struct Block;
  using Blocks = std::vector<Block*>;

  static void Free(const Blocks& blocks);
  // Removes a block that is kept.
  void Remove(std::list<Block*>::iterator block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Notes what is in use, and removes and returns the kept blocks that are too many.
  [[nodiscard]] Blocks Trim(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Gives back what is too many when it is time to, however small the blocks that are asked for.
  void TrimWhenDue(TimePoint now);

  const std::size_t max_kept_;
  const std::size_t max_in_use_;
  std::atomic<std::int64_t> trim_due_ns_{0};  // when the next stretch begins
  mutable Mutex mutex_;
  std::list<Block*> by_age_ ABSL_GUARDED_BY(mutex_);  // the first was freed first
  std::multimap<std::size_t, std::list<Block*>::iterator> by_size_ ABSL_GUARDED_BY(mutex_);
  std::size_t kept_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t in_use_ ABSL_GUARDED_BY(mutex_) = 0;  // of blocks that can be kept
  // The most that was in use in this stretch of kMemory and in the one before.
  std::size_t peak_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t last_peak_ ABSL_GUARDED_BY(mutex_) = 0;
  TimePoint stretch_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace inferpool::ort
