#include "shared/board/route_counts.h"

#include <xxhash.h>

#include <algorithm>
#include <string>

namespace inferpool {
namespace {

void Add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

std::uint64_t Get(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

std::uint64_t HashOf(std::string_view route, std::string_view variant, std::string_view model,
                     std::string_view version) {
  std::string names;
  for (const std::string_view name : {route, variant, model, version}) {
    names += name;
    names += '\0';
  }
  return XXH3_64bits(names.data(), names.size());
}

}  // namespace

void RouteCounts::CountRequest(bool failed, std::chrono::microseconds took) {
  const long us = std::max(0L, static_cast<long>(took.count()));
  const auto bound = std::ranges::lower_bound(kBucketBoundsUs, us);
  Add(requests_, 1);
  Add(errors_, failed ? 1 : 0);
  Add(buckets_[static_cast<std::size_t>(bound - kBucketBoundsUs.begin())], 1);
  Add(sum_us_, static_cast<std::uint64_t>(us));
}

void RouteCounts::CountFindings(std::uint64_t pictures, std::uint64_t findings) {
  Add(pictures_, pictures);
  Add(findings_, findings);
}

void RouteCounts::CountDropped() {
  Add(dropped_, 1);
}

void RouteCounts::CountAgreement(const Agreement& agreement) {
  Add(matched_, agreement.matched);
  Add(only_primary_, agreement.only_primary);
  Add(only_shadow_, agreement.only_shadow);
}

void RouteCounts::AddTo(RouteTotals& totals) const {
  totals.requests += Get(requests_);
  totals.errors += Get(errors_);
  totals.pictures += Get(pictures_);
  totals.findings += Get(findings_);
  totals.dropped += Get(dropped_);
  totals.agreement.matched += Get(matched_);
  totals.agreement.only_primary += Get(only_primary_);
  totals.agreement.only_shadow += Get(only_shadow_);
  for (std::size_t i = 0; i < kBuckets; ++i) totals.buckets[i] += Get(buckets_[i]);
  totals.sum_us += Get(sum_us_);
}

RouteCounts& RouteTable::Find(std::string_view route, std::string_view variant,
                              std::string_view model, std::string_view version) {
  return rows_.Find(HashOf(route, variant, model, version), {.route = FixedText<136>(route),
                                                             .variant = FixedText<16>(variant),
                                                             .model = FixedText<136>(model),
                                                             .version = FixedText<72>(version)});
}

std::vector<RouteTotals> RouteTable::List() const {
  std::vector<RouteTotals> list;
  rows_.ForEach([&list](const RouteLabels& labels, const RouteCounts& counts) {
    RouteTotals& totals = list.emplace_back();
    totals.labels = labels;
    counts.AddTo(totals);
  });
  return list;
}

}  // namespace inferpool
