#include "shared/access/rate_limiter.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "shared/base/deadline.h"

namespace inferpool {
namespace {

constexpr double kNsPerSecond = 1e9;
// So that sums of two of them are far from overflowing: some 30 years.
constexpr double kLongestNs = 1e18;

constexpr std::int64_t kSlackNs = 1'000'000'000;

std::int64_t Ns(double ns) {
  return static_cast<std::int64_t>(std::clamp(ns, 0.0, kLongestNs));
}

}  // namespace

RateMeter::Decision RateMeter::Admit(const RateLimit& limit, TimePoint now) {
  if (limit.per_s <= 0) {
    allowed_.fetch_add(1, std::memory_order_relaxed);
    return {true};
  }
  const std::int64_t now_ns = ToNs(now);
  const std::int64_t interval = Ns(kNsPerSecond / limit.per_s);
  const std::int64_t ahead = Ns(kNsPerSecond / limit.per_s * std::max(0, limit.burst - 1));
  std::int64_t kept = due_ns_.load(std::memory_order_relaxed);
  while (true) {
    // Much later than this it can only be of a slower limit, which the key had before; a little
    // later, when others are ahead of a thread that had to wait since it looked at its clock.
    const std::int64_t latest = now_ns + ahead + interval;
    const std::int64_t due = kept > latest + kSlackNs ? latest : std::max(kept, now_ns);
    const std::int64_t early = due - ahead - now_ns;
    const bool allowed = early <= 0;
    const std::int64_t next = allowed ? due + interval : due;
    if (next != kept && !due_ns_.compare_exchange_weak(kept, next, std::memory_order_relaxed)) {
      continue;
    }
    (allowed ? allowed_ : limited_).fetch_add(1, std::memory_order_relaxed);
    return {allowed, std::chrono::nanoseconds(std::max<std::int64_t>(0, early))};
  }
}

RateMeter* RateLimiter::Find(std::string_view name) {
  const KeyName text(name);
  const std::uint64_t id = std::max<std::uint64_t>(1, XXH3_64bits(name.data(), name.size()));
  for (std::size_t i = 0; i < kMaxKeys; ++i) {
    Entry& entry = entries_[(id + i) % kMaxKeys];
    std::uint64_t owner = entry.id.load(std::memory_order_acquire);
    if (owner == 0 && entry.id.compare_exchange_strong(owner, id, std::memory_order_acq_rel)) {
      owner = id;
    }
    if (owner != id) continue;
    if (entry.named.load(std::memory_order_acquire) == 0) {
      std::array<std::uint64_t, sizeof(KeyName) / 8> words{};
      std::memcpy(words.data(), text.characters.data(), sizeof words);
      for (std::size_t word = 0; word < words.size(); ++word) {
        entry.name[word].store(words[word], std::memory_order_relaxed);
      }
      entry.named.store(1, std::memory_order_release);
    }
    return &entry.meter;
  }
  return nullptr;
}

std::vector<KeyRequests> RateLimiter::List() const {
  std::vector<KeyRequests> list;
  for (const Entry& entry : entries_) {
    if (entry.named.load(std::memory_order_acquire) == 0) continue;
    KeyRequests& key = list.emplace_back();
    std::array<std::uint64_t, sizeof(KeyName) / 8> words{};
    for (std::size_t word = 0; word < words.size(); ++word) {
      words[word] = entry.name[word].load(std::memory_order_relaxed);
    }
    std::memcpy(key.name.characters.data(), words.data(), sizeof words);
    key.allowed = entry.meter.allowed();
    key.limited = entry.meter.limited();
  }
  return list;
}

}  // namespace inferpool
