// A value in shared memory that one writer at a time changes and anybody reads whole: no locks, so
// that a writer's death blocks nobody.
//
// The sequence is odd while the value is being written; a reader tries again when it saw an odd one
// or another one afterwards (Hans Boehm, "Can seqlocks get along with programming language memory
// models?", 2012). All members start as zero bytes, so zeroed memory is a valid, empty one.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

namespace inferpool {

template <typename T>
requires std::is_trivially_copyable_v<T>
class Seqlock {
 public:
  // Safe in a signal handler. A write that a dead writer left half done is overwritten.
  void Store(const T& value) {
    const std::uint32_t odd = sequence_.load(std::memory_order_relaxed) | 1U;
    sequence_.store(odd, std::memory_order_relaxed);
    std::array<std::uint64_t, kWords> words{};
    std::memcpy(words.data(), &value, sizeof(T));
    for (std::size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    sequence_.store(odd + 1, std::memory_order_release);
  }

  // None when the writer was never still while we looked, or died in the middle.
  std::optional<T> Load() const {
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
      const std::uint32_t before = sequence_.load(std::memory_order_acquire);
      if (before & 1U) continue;
      std::array<std::uint64_t, kWords> words{};
      for (std::size_t j = 0; j < kWords; ++j) words[j] = words_[j].load(std::memory_order_acquire);
      if (sequence_.load(std::memory_order_relaxed) != before) continue;
      T value;
      std::memcpy(static_cast<void*>(&value), words.data(), sizeof(T));
      return value;
    }
    return std::nullopt;
  }

 private:
  static constexpr std::size_t kWords = (sizeof(T) + 7) / 8;

  std::atomic<std::uint32_t> sequence_;
  std::array<std::atomic<std::uint64_t>, kWords> words_;
};

}  // namespace inferpool
