// A value in shared memory that one writer at a time changes and that any process reads whole. It
// needs no lock, so a writer's death blocks nobody.
//
// The sequence is odd while the value is being written. A reader tries again when it saw an odd
// sequence, or another one afterwards (Hans Boehm, "Can seqlocks get along with programming
// language memory models?", 2012). Zeroed memory is a valid seqlock of a zeroed value.
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
  // Overwrites the value, also one that a dead writer left half written. Safe in a signal handler.
  void Store(const T& value) {
    const std::uint32_t odd = sequence_.load(std::memory_order_relaxed) | 1U;
    sequence_.store(odd, std::memory_order_relaxed);
    std::array<std::uint64_t, kWords> words{};
    std::memcpy(words.data(), &value, sizeof(T));
    for (std::size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    sequence_.store(odd + 1, std::memory_order_release);
  }

  // nullopt: every attempt met a write in progress, or the writer died in the middle of one.
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
