#include "shared/board/rule_counts.h"

#include <xxhash.h>

namespace inferpool {

RuleCounts& RuleTable::Find(std::string_view rule) {
  return rows_.Find(XXH3_64bits(rule.data(), rule.size()), RuleName(rule));
}

std::vector<RuleTotals> RuleTable::List() const {
  std::vector<RuleTotals> list;
  rows_.ForEach([&list](const RuleName& rule, const RuleCounts& counts) {
    RuleTotals& totals = list.emplace_back();
    totals.rule = rule;
    for (std::size_t i = 0; i < kRuleEvents; ++i) {
      totals.events[i] = counts.events[i].load(std::memory_order_relaxed);
    }
    totals.waiting = counts.waiting.load(std::memory_order_relaxed);
  });
  return list;
}

}  // namespace inferpool
