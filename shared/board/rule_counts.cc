#include "shared/board/rule_counts.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace inferpool {

RuleCounts& RuleTable::Find(std::string_view rule) {
  const std::uint64_t id = std::max<std::uint64_t>(1, XXH3_64bits(rule.data(), rule.size()));
  constexpr std::size_t kNamed = kRows - 1;
  for (std::size_t i = 0; i < kNamed; ++i) {
    Row& row = rows_[(id + i) % kNamed];
    std::uint64_t owner = row.id.load(std::memory_order_acquire);
    if (owner == 0 && row.id.compare_exchange_strong(owner, id, std::memory_order_acq_rel)) {
      owner = id;
    }
    if (owner != id) continue;
    if (row.named.load(std::memory_order_acquire) == 0) {
      const RuleName name(rule);
      std::array<std::uint64_t, kWords> words{};
      std::memcpy(words.data(), &name, sizeof name);
      for (std::size_t word = 0; word < kWords; ++word) {
        row.name[word].store(words[word], std::memory_order_relaxed);
      }
      row.named.store(1, std::memory_order_release);
    }
    return row.counts;
  }
  Row& others = rows_[kNamed];
  others.named.store(1, std::memory_order_release);
  return others.counts;
}

std::vector<RuleTotals> RuleTable::List() const {
  std::vector<RuleTotals> list;
  for (const Row& row : rows_) {
    if (row.named.load(std::memory_order_acquire) == 0) continue;
    RuleTotals& totals = list.emplace_back();
    std::array<std::uint64_t, kWords> words{};
    for (std::size_t word = 0; word < kWords; ++word) {
      words[word] = row.name[word].load(std::memory_order_relaxed);
    }
    std::memcpy(static_cast<void*>(&totals.rule), words.data(), sizeof totals.rule);
    for (std::size_t i = 0; i < kRuleEvents; ++i) {
      totals.events[i] = row.counts.events[i].load(std::memory_order_relaxed);
    }
    totals.waiting = row.counts.waiting.load(std::memory_order_relaxed);
  }
  return list;
}

}  // namespace inferpool
