#include "shared/board/rule_counts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace inferpool {
namespace {

TEST(RuleTableTest, EachRuleIsCountedForItself) {
  const auto table = std::make_unique<RuleTable>();
  EXPECT_TRUE(table->List().empty());
  table->Find("door").Count(RuleEvent::kMet, 3);
  table->Find("door").Count(RuleEvent::kHeld);
  table->Find("gate").waiting = 7;
  auto rows = table->List();
  ASSERT_EQ(rows.size(), 2U);
  std::ranges::sort(rows, {}, [](const RuleTotals& row) { return row.rule.view(); });
  EXPECT_EQ(rows[0].rule.view(), "door");
  EXPECT_EQ(rows[0].events[static_cast<std::size_t>(RuleEvent::kMet)], 3U);
  EXPECT_EQ(rows[0].events[static_cast<std::size_t>(RuleEvent::kHeld)], 1U);
  EXPECT_EQ(rows[1].rule.view(), "gate");
  EXPECT_EQ(rows[1].waiting, 7U);
}

TEST(RuleTableTest, WhatFindsNoRowIsCountedTogether) {
  const auto table = std::make_unique<RuleTable>();
  for (std::size_t i = 0; i < RuleTable::kRows + 10; ++i) {
    table->Find(fmt::format("rule-{}", i)).Count(RuleEvent::kMet);
  }
  const auto rows = table->List();
  EXPECT_EQ(rows.size(), RuleTable::kRows);
  const auto others = std::ranges::find(rows, std::string_view(),
                                        [](const RuleTotals& row) { return row.rule.view(); });
  ASSERT_NE(others, rows.end());
  EXPECT_EQ(others->events[static_cast<std::size_t>(RuleEvent::kMet)], 11U);
}

}  // namespace
}  // namespace inferpool
