// How long to wait before something that failed is tried again.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace inferpool {

// Pauses that double up to a longest one. Each is drawn from the upper half of what it could be, so
// that many who failed together do not come back together. For one thread at a time.
class Pauses {
 public:
  using Time = std::chrono::milliseconds;

  // By default for connections on the same network.
  explicit Pauses(std::uint64_t seed, Time first = Time(20), Time longest = Time(800))
      : first_(first), longest_(longest), next_(first), random_(seed) {}

  Time Next();
  void Reset() { next_ = first_; }

 private:
  const Time first_;
  const Time longest_;
  Time next_;
  std::mt19937_64 random_;
};

}  // namespace inferpool
