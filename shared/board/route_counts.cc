#include "shared/board/route_counts.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace inferpool {
namespace {

void Add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

std::uint64_t Get(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

std::uint64_t IdOf(std::string_view route, std::string_view variant, std::string_view model,
                   std::string_view version) {
  std::string names;
  for (const std::string_view name : {route, variant, model, version}) {
    names += name;
    names += '\0';
  }
  return std::max<std::uint64_t>(1, XXH3_64bits(names.data(), names.size()));
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
  const std::uint64_t id = IdOf(route, variant, model, version);
  constexpr std::size_t kNamed = kRows - 1;
  for (std::size_t i = 0; i < kNamed; ++i) {
    Row& row = rows_[(id + i) % kNamed];
    std::uint64_t owner = row.id.load(std::memory_order_acquire);
    if (owner == 0 && row.id.compare_exchange_strong(owner, id, std::memory_order_acq_rel)) {
      owner = id;
    }
    if (owner != id) continue;
    if (row.named.load(std::memory_order_acquire) == 0) {
      const RouteLabels labels{.route = FixedText<136>(route),
                               .variant = FixedText<16>(variant),
                               .model = FixedText<136>(model),
                               .version = FixedText<72>(version)};
      std::array<std::uint64_t, kWords> words{};
      std::memcpy(words.data(), &labels, sizeof labels);
      for (std::size_t word = 0; word < kWords; ++word) {
        row.labels[word].store(words[word], std::memory_order_relaxed);
      }
      row.named.store(1, std::memory_order_release);
    }
    return row.counts;
  }
  Row& others = rows_[kNamed];
  others.named.store(1, std::memory_order_release);
  return others.counts;
}

std::vector<RouteTotals> RouteTable::List() const {
  std::vector<RouteTotals> list;
  for (const Row& row : rows_) {
    if (row.named.load(std::memory_order_acquire) == 0) continue;
    RouteTotals& totals = list.emplace_back();
    std::array<std::uint64_t, kWords> words{};
    for (std::size_t word = 0; word < kWords; ++word) {
      words[word] = row.labels[word].load(std::memory_order_relaxed);
    }
    std::memcpy(static_cast<void*>(&totals.labels), words.data(), sizeof totals.labels);
    row.counts.AddTo(totals);
  }
  return list;
}

}  // namespace inferpool
