// Counts what became of the rules for cameras' answers (ops/rules), in shared memory: a row for
// each rule (named_rows.h).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shared/base/fixed_text.h"
#include "shared/board/named_rows.h"

namespace inferpool {

enum class RuleEvent {
  kMet,         // answers in which something met the rule
  kHeld,        // of these, those of which nobody is told, as the rule holds off
  kDelivered,   // events that the receiver has taken
  kFailed,      // tries in vain
  kGivenUp,     // events that were tried too often or for too long
  kCrowdedOut,  // events that had to make room for newer ones
};
inline constexpr std::array<std::string_view, 6> kRuleEventNames = {
    "met", "held", "delivered", "failed", "given_up", "crowded_out"};
inline constexpr std::size_t kRuleEvents = kRuleEventNames.size();

using RuleName = FixedText<72>;

struct RuleTotals {
  RuleName rule;
  std::array<std::uint64_t, kRuleEvents> events{};
  std::uint64_t waiting = 0;  // events
};

// One row's counts. Thread safe, also between processes.
struct RuleCounts {
  std::array<std::atomic<std::uint64_t>, kRuleEvents> events;
  std::atomic<std::uint64_t> waiting;

  void Count(RuleEvent what, std::uint64_t amount = 1) {
    events[static_cast<std::size_t>(what)].fetch_add(amount, std::memory_order_relaxed);
  }
};

class RuleTable {
 public:
  static constexpr std::size_t kRows = 129;

  // Returns the row, and makes it on the first call. It stays valid for as long as the memory does.
  RuleCounts& Find(std::string_view rule);

  // Returns the rows that are in use, in no particular order.
  std::vector<RuleTotals> List() const;

 private:
  NamedRows<RuleName, RuleCounts, kRows> rows_;
};

}  // namespace inferpool
