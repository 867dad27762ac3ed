// Counts what routes lead to, in shared memory: one table for all workers, with a row for each pair
// of a route's variant and a model's version (named_rows.h).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shared/base/fixed_text.h"
#include "shared/board/metrics.h"
#include "shared/board/named_rows.h"

namespace inferpool {

// What a row counts. Longer names are cut where they are shown, and told apart nevertheless.
struct RouteLabels {
  FixedText<136> route;
  FixedText<16> variant;  // "primary", "canary", "fallback", "shadow"
  FixedText<136> model;
  FixedText<72> version;  // that answered; that was asked for, when none did
};

// How a shadow's findings agree with those of the answer: pairs, and what only one of them found.
struct Agreement {
  std::uint64_t matched = 0;
  std::uint64_t only_primary = 0;
  std::uint64_t only_shadow = 0;
};

struct RouteTotals {
  RouteLabels labels;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  std::uint64_t pictures = 0;
  std::uint64_t findings = 0;
  std::uint64_t dropped = 0;
  Agreement agreement;
  std::array<std::uint64_t, kBuckets> buckets{};
  std::uint64_t sum_us = 0;
};

// One row's counts. Thread safe, also between processes.
class RouteCounts {
 public:
  // One request, and how long it took.
  void CountRequest(bool failed, std::chrono::microseconds took);
  void CountFindings(std::uint64_t pictures, std::uint64_t findings);
  // A shadow that was not asked.
  void CountDropped();
  void CountAgreement(const Agreement& agreement);

  void AddTo(RouteTotals& totals) const;

 private:
  std::atomic<std::uint64_t> requests_;
  std::atomic<std::uint64_t> errors_;
  std::atomic<std::uint64_t> pictures_;
  std::atomic<std::uint64_t> findings_;
  std::atomic<std::uint64_t> dropped_;
  std::atomic<std::uint64_t> matched_;
  std::atomic<std::uint64_t> only_primary_;
  std::atomic<std::uint64_t> only_shadow_;
  std::array<std::atomic<std::uint64_t>, kBuckets> buckets_;
  std::atomic<std::uint64_t> sum_us_;
};

class RouteTable {
 public:
  static constexpr std::size_t kRows = 256;

  // Returns the row, and makes it on the first call. It stays valid for as long as the memory does.
  RouteCounts& Find(std::string_view route, std::string_view variant, std::string_view model,
                    std::string_view version);

  // Returns the rows that are in use, in no particular order.
  std::vector<RouteTotals> List() const;

 private:
  NamedRows<RouteLabels, RouteCounts, kRows> rows_;
};

}  // namespace inferpool
