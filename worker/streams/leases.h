// The leases of the shards that a process has or wants. Pure: it is told what happened and what
// time it is, and says what is due. Redis decides who has a lease; every script that changes what
// is owed checks it there.
//
// A lease is renewed each second and ends three seconds after its latest renewal was sent. When
// that time is over without an answer, the shard counts as lost, though its answers are still
// tried: the lease may be ours, as long as nobody else wanted it.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shared/base/deadline.h"

namespace inferpool::streams {

inline constexpr std::chrono::milliseconds kLeaseTime{3'000};
inline constexpr std::chrono::milliseconds kRenewEvery{1'000};

class Leases {
 public:
  explicit Leases(int shards) : shards_(static_cast<std::size_t>(shards)) {}

  // The shards that this process shall have from now on. Those that it has and shall not are let go
  // once nothing of them is in work.
  void Want(std::span<const int> shards, TimePoint now);

  struct Due {
    std::vector<int> acquire;
    std::vector<int> renew;
    std::vector<int> release;
  };
  Due WhatIsDue(TimePoint now) const;
  // When there will be something due if nothing happens; nullopt: never.
  std::optional<TimePoint> NextDue() const;
  // Somebody has let go of a shard: tries to acquire are due at once.
  void TryNow();

  // What Redis answered to something that was sent at `sent`.
  void Acquired(int shard, std::string token, TimePoint sent);
  void Refused(int shard, TimePoint sent);  // somebody else has it
  void Renewed(int shard, TimePoint sent);
  void Lost(int shard, TimePoint now);  // also when it was released

  // A frame of the shard is in work, or is no longer.
  void Began(int shard) { ++at(shard).in_work; }
  void Ended(int shard) { --at(shard).in_work; }

  // Nothing of the shard is taken until then: what was done of it cannot be told.
  void Rest(int shard, TimePoint until) { at(shard).rests_until = until; }

  // We have the shard, whether or not we shall.
  bool Has(int shard) const { return !at(shard).token.empty(); }
  // We have it, shall, it does not rest, and its lease has not run out: its frames may be taken.
  bool MayTake(int shard, TimePoint now) const;
  const std::string& token(int shard) const { return at(shard).token; }
  int owned() const;

 private:
  struct Shard {
    bool wanted = false;
    std::string token;  // empty: we do not have it
    TimePoint renewed{};
    TimePoint try_at{};
    TimePoint rests_until{};
    int in_work = 0;
  };
  Shard& at(int shard) { return shards_[static_cast<std::size_t>(shard)]; }
  const Shard& at(int shard) const { return shards_[static_cast<std::size_t>(shard)]; }

  std::vector<Shard> shards_;
};

}  // namespace inferpool::streams
