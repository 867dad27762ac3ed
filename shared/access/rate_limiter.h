// Counts requests per API key and limits their rate, in shared memory: one limit for all workers
// together.
//
// Each key's name has an entry. A process claims it with one atomic operation, and nobody gives it
// back while the pool lives, so no process can hold an entry that has become another key's. There
// are no locks, because a process may die at any point. Zeroed memory is a valid, empty table.
//
// The limit is the generic cell rate algorithm (ITU-T I.371, virtual scheduling): it keeps only the
// time at which the next request would be due if requests came evenly. Times are of the steady
// clock, which all processes of a machine share.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/fixed_text.h"

namespace inferpool {

using KeyName = FixedText<64>;

struct RateLimit {
  double per_s = 0;  // 0: no limit
  int burst = 1;     // requests that may come at once, at least 1
};

// One key's requests. Thread safe, also between processes.
class RateMeter {
 public:
  struct Decision {
    bool allowed;
    std::chrono::nanoseconds retry_after{0};  // 0 when allowed
    int remaining = 0;                        // requests that may come at once behind this one
    // Time until as many as a burst may come at once again; while none may, until one may.
    std::chrono::nanoseconds restored_in{0};
  };

  // Decides whether a request that comes at `now` may pass, and counts it.
  Decision Admit(const RateLimit& limit, TimePoint now);

  // Takes `turns` more, at least 1, for a request that was let through and costs more than one: all
  // of them, or none. Only a refusal is counted. Never allowed where a burst has fewer.
  Decision Take(const RateLimit& limit, int turns, TimePoint now);

  // What there is for a request that was let through and counted before. Counts nothing.
  Decision Look(const RateLimit& limit, TimePoint now) const;

  std::uint64_t allowed() const { return allowed_.load(std::memory_order_relaxed); }
  std::uint64_t limited() const { return limited_.load(std::memory_order_relaxed); }

 private:
  // Decides on so many turns at once, and takes them. Counts nothing.
  Decision Decide(const RateLimit& limit, int turns, TimePoint now);

  std::atomic<std::int64_t> due_ns_;  // of the next request, were they to come evenly
  std::atomic<std::uint64_t> allowed_;
  std::atomic<std::uint64_t> limited_;
};

struct KeyRequests {
  KeyName name;
  std::uint64_t allowed = 0;
  std::uint64_t limited = 0;
};

class RateLimiter {
 public:
  static constexpr std::size_t kMaxKeys = 2048;

  // Returns the meter of the key `name`, which must not be empty, and makes it on the first call.
  // Every process gets the same one, and it stays valid for as long as the memory does. nullptr:
  // kMaxKeys other keys have an entry each.
  RateMeter* Find(std::string_view name);

  // Returns the keys that have an entry, in no particular order.
  std::vector<KeyRequests> List() const;

 private:
  struct alignas(64) Entry {
    std::atomic<std::uint64_t> id;  // hash of the name; 0: free
    RateMeter meter;
    // Every process that claims or finds the entry writes the same name, so a process that dies
    // after its claim leaves no entry without one.
    std::atomic<std::uint32_t> named;
    std::array<std::atomic<std::uint64_t>, sizeof(KeyName) / 8> name;
  };

  std::array<Entry, kMaxKeys> entries_;
};

}  // namespace inferpool
