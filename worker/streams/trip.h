// One round trip to Redis: calls of scripts, and the texts that they view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/status.h"
#include "shared/redis/redis.h"

namespace inferpool::streams {

class Trip {
 public:
  // Text that lives as long as the trip.
  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  std::string_view Keep(std::int64_t number);

  // A call that is to be given its keys and arguments. The reference is valid until the next Add.
  Redis::ScriptCall& Add(const Script& script) {
    return calls_.emplace_back(Redis::ScriptCall{&script, {}, {}});
  }

  // Makes all calls at once. An answer for each, which may be an error; the status is an error only
  // when the connection broke.
  absl::StatusOr<std::vector<OwnedReply>> Go(Redis& redis) const { return redis.RunAll(calls_); }

  std::size_t size() const { return calls_.size(); }

 private:
  std::deque<std::string> texts_;
  std::vector<Redis::ScriptCall> calls_;
};

// The connection is of no more use after this error.
bool BreaksConnection(const absl::Status& status);

}  // namespace inferpool::streams
