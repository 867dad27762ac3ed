#include "shared/quarantine.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

namespace inferpool {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

Digest DigestOf(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.high = hash.high64, .low = hash.low64};
}

std::string ToHex(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

void Quarantine::Enter(const Quarantined& entry) {
  if (!entry.digest.known()) return;
  for (Entry& known : entries_) {
    if (known.low.load(std::memory_order_relaxed) != entry.digest.low ||
        known.until_ns.load(std::memory_order_acquire) == 0) {
      continue;
    }
    const auto value = known.value.Load();
    if (value && value->digest == entry.digest && value->model == entry.model) {
      known.until_ns.store(entry.until_ns, std::memory_order_release);
      return;
    }
  }
  // A place whose writer is at work, or died at it, is passed over.
  for (std::size_t i = 0; i < kEntries; ++i) {
    Entry& place = entries_[entered_.fetch_add(1, std::memory_order_relaxed) % kEntries];
    if (place.being_written.exchange(1, std::memory_order_acquire) != 0) continue;
    place.until_ns.store(0, std::memory_order_relaxed);
    place.value.Store(entry);
    place.low.store(entry.digest.low, std::memory_order_relaxed);
    place.until_ns.store(entry.until_ns, std::memory_order_release);
    place.being_written.store(0, std::memory_order_release);
    return;
  }
}

bool Quarantine::Has(const Digest& digest, std::string_view model, TimePoint now) const {
  const std::size_t used = std::min(entered_.load(std::memory_order_acquire), kEntries);
  for (std::size_t i = 0; i < used; ++i) {
    const Entry& entry = entries_[i];
    if (entry.low.load(std::memory_order_relaxed) != digest.low ||
        entry.until_ns.load(std::memory_order_acquire) <= ToNs(now)) {
      continue;
    }
    const auto value = entry.value.Load();
    if (value && value->digest == digest && value->model == ModelName(model)) return true;
  }
  return false;
}

std::vector<Quarantined> Quarantine::List(TimePoint now) const {
  std::vector<Quarantined> list;
  for (const Entry& entry : entries_) {
    const std::int64_t until = entry.until_ns.load(std::memory_order_acquire);
    if (until <= ToNs(now)) continue;
    if (auto value = entry.value.Load()) {
      value->until_ns = until;
      list.push_back(*value);
    }
  }
  return list;
}

void Quarantine::Clear() {
  for (Entry& entry : entries_) entry.until_ns.store(0, std::memory_order_release);
}

}  // namespace inferpool
