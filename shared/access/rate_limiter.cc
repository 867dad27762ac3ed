#include "shared/access/rate_limiter.h"

#include <xxhash.h>

#include <algorithm>
#include <climits>
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

// A limit as the algorithm has it.
struct Pace {
  explicit Pace(const RateLimit& limit)
      : interval(Ns(kNsPerSecond / limit.per_s)),
        ahead(Ns(kNsPerSecond / limit.per_s * std::max(0, limit.burst - 1))) {}

  // When the next request is due that comes at `now_ns`, given the time that was kept. Much later
  // than `latest` it can only be of a slower limit, which the key had before; a little later, when
  // others are ahead of a thread that had to wait since it looked at its clock.
  std::int64_t Due(std::int64_t kept, std::int64_t now_ns) const {
    const std::int64_t latest = now_ns + ahead + interval;
    return kept > latest + kSlackNs ? latest : std::max(kept, now_ns);
  }

  std::int64_t interval;
  std::int64_t ahead;  // how much earlier than due a request may come
};

// Completes a decision with what is left, when the next request is due at `due`.
RateMeter::Decision WithRest(RateMeter::Decision decision, const Pace& pace, std::int64_t due,
                             std::int64_t now_ns) {
  const std::int64_t early = due - pace.ahead - now_ns;
  const std::int64_t left = early > 0 ? 0 : 1 - early / std::max<std::int64_t>(1, pace.interval);
  decision.remaining = static_cast<int>(std::min<std::int64_t>(left, INT_MAX));
  decision.restored_in =
      std::chrono::nanoseconds(std::max<std::int64_t>(0, left > 0 ? due - now_ns : early));
  return decision;
}

}  // namespace

RateMeter::Decision RateMeter::Decide(const RateLimit& limit, int turns, TimePoint now) {
  if (limit.per_s <= 0) return {true};
  const std::int64_t now_ns = ToNs(now);
  const Pace pace(limit);
  const std::int64_t more = Ns(kNsPerSecond / limit.per_s * (turns - 1));
  std::int64_t kept = due_ns_.load(std::memory_order_relaxed);
  while (true) {
    const std::int64_t due = pace.Due(kept, now_ns);
    const std::int64_t early = due + more - pace.ahead - now_ns;
    const bool allowed = early <= 0;
    const std::int64_t next = allowed ? due + more + pace.interval : due;
    if (next != kept && !due_ns_.compare_exchange_weak(kept, next, std::memory_order_relaxed)) {
      continue;
    }
    return WithRest({.allowed = allowed,
                     .retry_after = std::chrono::nanoseconds(std::max<std::int64_t>(0, early))},
                    pace, next, now_ns);
  }
}

RateMeter::Decision RateMeter::Admit(const RateLimit& limit, TimePoint now) {
  const Decision decision = Decide(limit, 1, now);
  (decision.allowed ? allowed_ : limited_).fetch_add(1, std::memory_order_relaxed);
  return decision;
}

RateMeter::Decision RateMeter::Take(const RateLimit& limit, int turns, TimePoint now) {
  const Decision decision = Decide(limit, turns, now);
  if (!decision.allowed) limited_.fetch_add(1, std::memory_order_relaxed);
  return decision;
}

RateMeter::Decision RateMeter::Look(const RateLimit& limit, TimePoint now) const {
  if (limit.per_s <= 0) return {true};
  const Pace pace(limit);
  const std::int64_t now_ns = ToNs(now);
  return WithRest({.allowed = true}, pace,
                  pace.Due(due_ns_.load(std::memory_order_relaxed), now_ns), now_ns);
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
