#include "worker/backend/shm/offset_allocator.h"

#include <cstdlib>
#include <iterator>
#include <limits>

namespace inferpool::backend {

OffsetAllocator::OffsetAllocator(std::size_t bytes)
    : size_(bytes / kAlignment * kAlignment), free_bytes_(size_) {
  if (size_ > 0) free_.emplace(0, size_);
}

std::size_t OffsetAllocator::Rounded(std::size_t bytes) {
  if (bytes == 0) return kAlignment;
  if (bytes > std::numeric_limits<std::size_t>::max() - kAlignment) {
    return std::numeric_limits<std::size_t>::max();  // fits nowhere
  }
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::optional<std::size_t> OffsetAllocator::Allocate(std::size_t bytes) {
  const std::size_t wanted = Rounded(bytes);
  for (auto run = free_.begin(); run != free_.end(); ++run) {
    const auto [offset, length] = *run;
    if (length < wanted) continue;
    const auto next = free_.erase(run);
    if (length > wanted) free_.emplace_hint(next, offset + wanted, length - wanted);
    free_bytes_ -= wanted;
    return offset;
  }
  return std::nullopt;
}

void OffsetAllocator::Free(std::size_t offset, std::size_t bytes) {
  const std::size_t length = Rounded(bytes);
  const auto next = free_.lower_bound(offset);
  const bool inside = offset % kAlignment == 0 && offset <= size_ && length <= size_ - offset &&
                      (next == free_.end() || offset + length <= next->first);
  if (!inside) std::abort();
  auto run = next;
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    const std::size_t end = before->first + before->second;
    if (end > offset) std::abort();
    if (end == offset) {
      before->second += length;
      run = before;
    }
  }
  if (run == next) run = free_.emplace_hint(next, offset, length);
  if (next != free_.end() && run->first + run->second == next->first) {
    run->second += next->second;
    free_.erase(next);
  }
  free_bytes_ += length;
}

}  // namespace inferpool::backend
