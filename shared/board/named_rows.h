// A table of counts in shared memory, each row of which has names.
//
// A process claims a row with one atomic operation, and nobody gives it back while the pool lives,
// so totals never fall. There are no locks, because a process may die at any point. Zeroed memory
// is a valid, empty table. What finds no row is counted in the last one, which has no names.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace inferpool {

// Thread safe, also between processes. `Counts` has atomics that are valid when zeroed.
template <typename Labels, typename Counts, std::size_t kRows>
class NamedRows {
 public:
  // Returns the row whose names have this hash, and makes it on the first call. It stays valid for
  // as long as the memory does.
  Counts& Find(std::uint64_t hash, const Labels& labels) {
    const std::uint64_t id = hash == kFree ? 1 : hash;
    constexpr std::size_t kNamed = kRows - 1;
    for (std::size_t i = 0; i < kNamed; ++i) {
      Row& row = rows_[(id + i) % kNamed];
      std::uint64_t owner = row.id.load(std::memory_order_acquire);
      if (owner == kFree && row.id.compare_exchange_strong(owner, id, std::memory_order_acq_rel)) {
        owner = id;
      }
      if (owner != id) continue;
      if (row.named.load(std::memory_order_acquire) == 0) row.Name(labels);
      return row.counts;
    }
    Row& others = rows_[kNamed];
    others.named.store(1, std::memory_order_release);
    return others.counts;
  }

  // Calls visit(labels, counts) for the rows that are in use, in no particular order.
  template <typename Visit>
  void ForEach(const Visit& visit) const {
    for (const Row& row : rows_) {
      if (row.named.load(std::memory_order_acquire) != 0) visit(row.Names(), row.counts);
    }
  }

 private:
  static_assert(std::is_trivially_copyable_v<Labels> && sizeof(Labels) % 8 == 0);
  static constexpr std::size_t kWords = sizeof(Labels) / 8;
  static constexpr std::uint64_t kFree = 0;
  using Words = std::array<std::uint64_t, kWords>;

  struct alignas(64) Row {
    // Every process that claims or finds the row writes the same names, so a process that dies
    // after its claim leaves no row without them.
    void Name(const Labels& names) {
      Words words{};
      std::memcpy(words.data(), &names, sizeof names);
      for (std::size_t i = 0; i < kWords; ++i) labels[i].store(words[i], std::memory_order_relaxed);
      named.store(1, std::memory_order_release);
    }
    Labels Names() const {
      Words words{};
      for (std::size_t i = 0; i < kWords; ++i) words[i] = labels[i].load(std::memory_order_relaxed);
      Labels names;
      std::memcpy(static_cast<void*>(&names), words.data(), sizeof names);
      return names;
    }

    std::atomic<std::uint64_t> id;
    Counts counts;
    std::atomic<std::uint32_t> named;
    std::array<std::atomic<std::uint64_t>, kWords> labels;
  };

  std::array<Row, kRows> rows_;
};

}  // namespace inferpool
