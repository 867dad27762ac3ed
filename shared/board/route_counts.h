// Counts what routes lead to, in shared memory: one table for all workers.
//
// Each pair of a route's variant and a model's version has a row. A process claims it with one
// atomic operation, and nobody gives it back while the pool lives, so totals never fall. There are
// no locks, because a process may die at any point. Zeroed memory is a valid, empty table. What
// finds no row is counted in the last one, which has no names.
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
  static constexpr std::size_t kWords = sizeof(RouteLabels) / 8;
  static_assert(sizeof(RouteLabels) % 8 == 0);

  struct alignas(64) Row {
    std::atomic<std::uint64_t> id;  // hash of the names; 0: free
    RouteCounts counts;
    // Every process that claims or finds the row writes the same names, so a process that dies
    // after its claim leaves no row without them.
    std::atomic<std::uint32_t> named;
    std::array<std::atomic<std::uint64_t>, kWords> labels;
  };

  std::array<Row, kRows> rows_;
};

}  // namespace inferpool
