#include "modelserver/onnxruntime/block_cache.h"

#include <sys/mman.h>

#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

namespace inferpool::ort {

// Stands before the memory that is given out.
struct alignas(BlockCache::kAlignment) BlockCache::Block {
  std::size_t size;  // of all of it, this included; 0: from the heap

  void* memory() { return this + 1; }
  static Block* Of(void* memory) { return static_cast<Block*>(memory) - 1; }
};

namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

BlockCache::~BlockCache() {
  for (Block* block : by_age_) munmap(block, block->size);
}

void* BlockCache::Take(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) {
    return nullptr;
  }
  if (bytes < kMinKept) {
    const std::size_t size = (sizeof(Block) + bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = std::aligned_alloc(kAlignment, size);
    return memory == nullptr ? nullptr : (new (memory) Block{.size = 0})->memory();
  }
  const std::size_t size = (sizeof(Block) + bytes + kPage - 1) / kPage * kPage;
  {
    const MutexLock lock(mutex_);
    const auto found = by_size_.lower_bound(size);
    if (found != by_size_.end() && found->first <= size + size / 4) {
      Block* block = *found->second;
      kept_ -= block->size;
      by_age_.erase(found->second);
      by_size_.erase(found);
      return block->memory();
    }
  }
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : (new (memory) Block{.size = size})->memory();
}

void BlockCache::Give(void* memory) {
  if (memory == nullptr) {
    return;
  }
  Block* block = Block::Of(memory);
  if (block->size == 0) {
    std::free(block);
    return;
  }
  std::vector<Block*> old;
  {
    const MutexLock lock(mutex_);
    by_size_.emplace(block->size, by_age_.insert(by_age_.end(), block));
    kept_ += block->size;
    while (kept_ > max_kept_) {
      const auto oldest = by_age_.begin();
      const auto [first, last] = by_size_.equal_range((*oldest)->size);
      for (auto same = first; same != last; ++same) {
        if (same->second == oldest) {
          by_size_.erase(same);
          break;
        }
      }
      kept_ -= (*oldest)->size;
      old.push_back(*oldest);
      by_age_.erase(oldest);
    }
  }
  for (Block* each : old) munmap(each, each->size);
}

std::size_t BlockCache::kept() const {
  const MutexLock lock(mutex_);
  return kept_;
}

}  // namespace inferpool::ort
