#include "modelserver/onnxruntime/block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <span>
#include <vector>

#include "shared/base/perturb.h"

namespace inferpool::ort {

// Stands before the memory that is given out.
struct alignas(BlockCache::kAlignment) BlockCache::Block {
  std::size_t size;  // of all of it, this included; 0: from the heap

  void* memory() { return this + 1; }
  // The memory of a block that is not from the heap, as it is given out.
  void* Taken() {
    Perturb({static_cast<std::byte*>(memory()), size - sizeof(Block)});
    return memory();
  }
  static Block* Of(void* memory) { return static_cast<Block*>(memory) - 1; }
};

namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

BlockCache::~BlockCache() {
  Free({by_age_.begin(), by_age_.end()});
}

void BlockCache::Free(const Blocks& blocks) {
  for (Block* block : blocks) munmap(block, block->size);
}

void* BlockCache::Take(std::size_t bytes, TimePoint now) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) {
    return nullptr;
  }
  if (bytes < kMinKept) {
    TrimWhenDue(now);
    const std::size_t size = (sizeof(Block) + bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = std::aligned_alloc(kAlignment, size);
    return memory == nullptr ? nullptr : (new (memory) Block{.size = 0})->memory();
  }
  const std::size_t size = (sizeof(Block) + bytes + kPage - 1) / kPage * kPage;
  Blocks old;
  {
    const MutexLock lock(mutex_);
    const auto found = by_size_.lower_bound(size);
    if (found != by_size_.end() && found->first <= size + size / 4) {
      Block* block = *found->second;
      if (block->size > max_in_use_ - in_use_) {
        return nullptr;
      }
      Remove(found->second);
      in_use_ += block->size;
      return block->Taken();
    }
    if (size > max_in_use_ - in_use_) {
      return nullptr;
    }
    in_use_ += size;
    old = Trim(now);
  }
  Free(old);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    const MutexLock lock(mutex_);
    in_use_ -= size;
    return nullptr;
  }
  return (new (memory) Block{.size = size})->Taken();
}

void BlockCache::Give(void* memory, TimePoint now) {
  if (memory == nullptr) {
    return;
  }
  Block* block = Block::Of(memory);
  if (block->size == 0) {
    std::free(block);
    return;
  }
  Blocks old;
  {
    const MutexLock lock(mutex_);
    peak_ = std::max(peak_, in_use_);
    in_use_ -= block->size;
    by_size_.emplace(block->size, by_age_.insert(by_age_.end(), block));
    kept_ += block->size;
    old = Trim(now);
  }
  Free(old);
}

void BlockCache::Remove(std::list<Block*>::iterator block) {
  const auto [first, last] = by_size_.equal_range((*block)->size);
  for (auto same = first; same != last; ++same) {
    if (same->second == block) {
      by_size_.erase(same);
      break;
    }
  }
  kept_ -= (*block)->size;
  by_age_.erase(block);
}

BlockCache::Blocks BlockCache::Trim(TimePoint now) {
  peak_ = std::max(peak_, in_use_);
  if (now - stretch_ >= kMemory) {
    last_peak_ = now - stretch_ < 2 * kMemory ? peak_ : in_use_;
    peak_ = in_use_;
    stretch_ = now;
    trim_due_ns_.store(ToNs(now + kMemory), std::memory_order_relaxed);
  }
  const std::size_t most = std::max({peak_, last_peak_, in_use_ + max_kept_});
  Blocks old;
  while (!by_age_.empty() && in_use_ + kept_ > most) {
    old.push_back(by_age_.front());
    Remove(by_age_.begin());
  }
  return old;
}

void BlockCache::TrimWhenDue(TimePoint now) {
  if (ToNs(now) < trim_due_ns_.load(std::memory_order_relaxed)) {
    return;
  }
  Blocks old;
  {
    const MutexLock lock(mutex_);
    old = Trim(now);
  }
  Free(old);
}

std::size_t BlockCache::kept() const {
  const MutexLock lock(mutex_);
  return kept_;
}

}  // namespace inferpool::ort
