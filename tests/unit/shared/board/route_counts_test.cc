#include "shared/board/route_counts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace inferpool {
namespace {

using std::chrono::microseconds;

TEST(RouteTableTest, EachVariantAndVersionIsCountedForItself) {
  const auto table = std::make_unique<RouteTable>();
  for (int i = 0; i < 3; ++i) {
    table->Find("a", "primary", "m", "1").CountRequest(i == 0, microseconds(2'000));
  }
  table->Find("a", "primary", "m", "1").CountFindings(2, 5);
  table->Find("a", "canary", "m", "2").CountRequest(false, microseconds(1));
  table->Find("a", "shadow", "n", "1").CountDropped();
  table->Find("a", "shadow", "n", "1").CountAgreement({1, 2, 3});
  auto rows = table->List();
  ASSERT_EQ(rows.size(), 3U);
  std::ranges::sort(rows, {}, [](const RouteTotals& row) { return row.labels.variant.view(); });
  EXPECT_EQ(rows[1].labels.route.view(), "a");
  EXPECT_EQ(rows[1].labels.variant.view(), "primary");
  EXPECT_EQ(rows[1].labels.model.view(), "m");
  EXPECT_EQ(rows[1].labels.version.view(), "1");
  EXPECT_EQ(rows[1].requests, 3U);
  EXPECT_EQ(rows[1].errors, 1U);
  EXPECT_EQ(rows[1].pictures, 2U);
  EXPECT_EQ(rows[1].findings, 5U);
  EXPECT_EQ(rows[1].sum_us, 6'000U);
  EXPECT_EQ(rows[1].buckets[2], 3U);
  EXPECT_EQ(rows[2].dropped, 1U);
  EXPECT_EQ(rows[2].agreement.matched, 1U);
  EXPECT_EQ(rows[2].agreement.only_primary, 2U);
  EXPECT_EQ(rows[2].agreement.only_shadow, 3U);
}

TEST(RouteTableTest, LongNamesAreToldApart) {
  const auto table = std::make_unique<RouteTable>();
  const std::string name(255, 'n');
  table->Find(name, "primary", name + "a", "").CountRequest(false, microseconds(1));
  table->Find(name, "primary", name + "b", "").CountRequest(false, microseconds(1));
  EXPECT_EQ(table->List().size(), 2U);
}

TEST(RouteTableTest, WhatFindsNoRowIsCountedTogether) {
  const auto table = std::make_unique<RouteTable>();
  constexpr int kMany = 1'000;
  for (int i = 0; i < kMany; ++i) {
    table->Find(fmt::format("route {}", i), "primary", "m", "1")
        .CountRequest(false, microseconds(1));
  }
  const auto rows = table->List();
  EXPECT_EQ(rows.size(), RouteTable::kRows);
  std::uint64_t requests = 0;
  std::uint64_t others = 0;
  for (const RouteTotals& row : rows) {
    requests += row.requests;
    if (row.labels.route.view().empty()) others = row.requests;
  }
  EXPECT_EQ(requests, std::uint64_t{kMany});
  EXPECT_EQ(others, kMany - RouteTable::kRows + 1);
}

TEST(RouteTableTest, ManyWritersLoseNothing) {
  const auto table = std::make_unique<RouteTable>();
  constexpr int kEach = 2'000;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kEach; ++j) {
        table->Find(fmt::format("r{}", j % 8), "primary", "m", "1")
            .CountRequest(true, microseconds(1));
      }
    });
  }
  threads.clear();
  std::uint64_t requests = 0;
  for (const RouteTotals& row : table->List()) requests += row.requests;
  EXPECT_EQ(table->List().size(), 8U);
  EXPECT_EQ(requests, 4U * kEach);
}

}  // namespace
}  // namespace inferpool
