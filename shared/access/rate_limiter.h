// Requests by API key and how fast they may come, in shared memory: one limit over all workers.
//
// A place for each key's name, claimed with one atomic and never given back while the pool lives,
// so that no process can hold a place that has become another key's. No locks: a process may die
// anywhere. All members start as zero bytes, so zeroed memory is a valid, empty table.
//
// The limit is the generic cell rate algorithm (ITU-T I.371, its virtual scheduling form): the one
// thing kept is the time at which the next request would be due if they came evenly. Times are of
// the steady clock, which all processes of a machine share.
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
  double per_s = 0;  // 0: none
  int burst = 1;     // requests that may come at once, at least 1
};

// One key's requests. For any thread of any process.
class RateMeter {
 public:
  struct Decision {
    bool allowed;
    std::chrono::nanoseconds retry_after{0};  // when it is not
  };

  // Decides on a request that comes now, and counts it.
  Decision Admit(const RateLimit& limit, TimePoint now);

  std::uint64_t allowed() const { return allowed_.load(std::memory_order_relaxed); }
  std::uint64_t limited() const { return limited_.load(std::memory_order_relaxed); }

 private:
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
  static constexpr std::size_t kPlaces = 2048;

  // The place of that name, which is not empty; null when all places are other names'. It is the
  // same one in every process, and for as long as the memory is.
  RateMeter* Find(std::string_view name);

  // Those that there are places for, in no order.
  std::vector<KeyRequests> List() const;

 private:
  struct alignas(64) Place {
    std::atomic<std::uint64_t> id;  // hash of the name; 0: free
    RateMeter meter;
    // Whoever claims or finds the place writes the name, always the same one, so that a death
    // between claim and name leaves no place without.
    std::atomic<std::uint32_t> named;
    std::array<std::atomic<std::uint64_t>, sizeof(KeyName) / 8> name;
  };

  std::array<Place, kPlaces> places_;
};

}  // namespace inferpool
