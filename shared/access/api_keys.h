// The file of API keys: who may ask, for which models, how fast and how urgently.
//
//   {"keys": [
//     {"name": "shop", "sha256": "<64 hexadecimal digits>", "models": ["faces", "shop-*"],
//      "rate_per_s": 50, "burst": 100, "priority": "high", "expires": "2027-06-30"}
//   ]}
//
// It has digests and no keys. A plain SHA-256 is enough: a key is 32 random bytes, so there is
// nothing to guess that a slow hash would protect, and each request is spared one.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shared/access/rate_limiter.h"
#include "shared/access/sha256.h"
#include "shared/base/priority.h"
#include "shared/base/status.h"

namespace inferpool {

using WallTime = std::chrono::system_clock::time_point;

struct ApiKey {
  std::string name;  // letters, digits, '.', '_' and '-', at most 63
  Sha256 sha256;     // of the key as clients send it
  // Names in which '*' stands for any characters. Empty: no model.
  std::vector<std::string> models = {"*"};
  RateLimit rate = {};
  Priority priority = Priority::kNormal;  // the most urgent that it may ask for
  std::string expires = {};               // as in the file; empty: never
  WallTime expires_at = WallTime::max();

  bool MayUse(std::string_view model) const;
};

inline constexpr std::size_t kMaxApiKeys = 1000;

// Names and digests are each there once. An error says what is wrong with the first bad entry:
// "line 12: ...".
absl::StatusOr<std::vector<ApiKey>> ParseApiKeys(std::string_view text);

// Reads the file and parses it; the error names the file: "keys.json:12: ...".
absl::StatusOr<std::vector<ApiKey>> LoadApiKeys(const std::string& file);

// As ParseApiKeys reads it; rates have nine digits.
std::string SerializeApiKeys(const std::vector<ApiKey>& keys);

// What an entry's values are made of; an error says what is allowed.
absl::Status CheckKeyName(std::string_view name);
// 0 for `burst`: as many as come in a second, at least one.
absl::StatusOr<RateLimit> MakeRateLimit(double per_s, int burst);
// RFC 3339: "2027-06-30T12:00:00Z", or a date, which is over when its day is in UTC.
absl::StatusOr<WallTime> ParseExpiry(const std::string& text);

}  // namespace inferpool
