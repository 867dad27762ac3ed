#include "worker/streams/leases.h"

#include <algorithm>
#include <utility>

namespace inferpool::streams {

void Leases::Want(std::span<const int> shards, TimePoint now) {
  for (int shard = 0; shard < static_cast<int>(shards_.size()); ++shard) {
    const bool wanted = std::ranges::find(shards, shard) != shards.end();
    if (wanted && !at(shard).wanted) at(shard).try_at = now;
    at(shard).wanted = wanted;
  }
}

Leases::Due Leases::WhatIsDue(TimePoint now) const {
  Due due;
  for (int shard = 0; shard < static_cast<int>(shards_.size()); ++shard) {
    const Shard& it = at(shard);
    if (!Has(shard)) {
      if (it.wanted && now >= it.try_at) due.acquire.push_back(shard);
    } else if (!it.wanted && it.in_work == 0) {
      due.release.push_back(shard);
    } else if (now >= it.renewed + kRenewEvery) {
      due.renew.push_back(shard);
    }
  }
  return due;
}

std::optional<TimePoint> Leases::NextDue() const {
  std::optional<TimePoint> next;
  for (int shard = 0; shard < static_cast<int>(shards_.size()); ++shard) {
    const Shard& it = at(shard);
    std::optional<TimePoint> own;
    if (Has(shard)) {
      own = !it.wanted && it.in_work == 0 ? TimePoint{} : it.renewed + kRenewEvery;
    } else if (it.wanted) {
      own = it.try_at;
    }
    if (own && (!next || *own < *next)) next = own;
  }
  return next;
}

void Leases::TryNow() {
  for (Shard& shard : shards_) shard.try_at = TimePoint{};
}

void Leases::Acquired(int shard, std::string token, TimePoint sent) {
  at(shard).token = std::move(token);
  at(shard).renewed = sent;
  at(shard).rests_until = {};
}

void Leases::Refused(int shard, TimePoint sent) {
  at(shard).try_at = sent + kRenewEvery;
}

void Leases::Renewed(int shard, TimePoint sent) {
  at(shard).renewed = sent;
}

void Leases::Lost(int shard, TimePoint now) {
  at(shard).token.clear();
  at(shard).try_at = now + kRenewEvery;
}

bool Leases::MayTake(int shard, TimePoint now) const {
  const Shard& it = at(shard);
  return it.wanted && !it.token.empty() && now < it.renewed + kLeaseTime && now >= it.rests_until;
}

int Leases::owned() const {
  return static_cast<int>(
      std::ranges::count_if(shards_, [](const Shard& shard) { return !shard.token.empty(); }));
}

}  // namespace inferpool::streams
