// Which bytes of a segment are free: offsets only, no memory. Pure; not thread safe.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

namespace inferpool::backend {

class OffsetAllocator {
 public:
  // Blocks begin at multiples of this and take whole multiples: a cache line, and the widest vector
  // register.
  static constexpr std::size_t kAlignment = 64;

  // Of `bytes`, what does not fill a last unit of kAlignment is not used.
  explicit OffsetAllocator(std::size_t bytes);

  // The lowest place where `bytes` fit: what was used last is the likeliest to be in a cache. None
  // when they do not fit anywhere.
  std::optional<std::size_t> Allocate(std::size_t bytes);

  // Gives back what Allocate(bytes) gave, once. Aborts when that cannot be.
  void Free(std::size_t offset, std::size_t bytes);

  // What a block of `bytes` takes: at least one unit.
  static std::size_t Rounded(std::size_t bytes);

  std::size_t free_bytes() const { return free_bytes_; }
  // Runs of free bytes; neighbors are always one run.
  std::size_t free_runs() const { return free_.size(); }

 private:
  const std::size_t size_;
  std::size_t free_bytes_;
  std::map<std::size_t, std::size_t> free_;  // offset -> length
};

}  // namespace inferpool::backend
