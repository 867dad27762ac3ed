// The file of API keys. A key says which models its holder may use and which cameras watch, how
// often and with which priority.
//
//   {"keys": [
//     {"name": "shop", "sha256": "<64 hexadecimal digits>", "models": ["faces", "shop-*"],
//      "cameras": ["door-*"], "rate_per_s": 50, "burst": 100, "priority": "high", "expires":
//      "2027-06-30"}
//   ]}
//
// The file holds digests, not keys. A key is 32 random bytes, which nobody can guess, so a plain
// SHA-256 is enough: a slow hash would only cost time on every request.
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
  // The same of cameras. Where the file does not name them: all for a key that may use all models,
  // and none for any other.
  std::vector<std::string> cameras = {"*"};
  RateLimit rate = {};
  Priority priority = Priority::kNormal;  // the highest that its requests may ask for
  std::string expires = {};               // as in the file; empty: never
  WallTime expires_at = WallTime::max();

  bool MayUse(std::string_view model) const;
  bool MayWatch(std::string_view camera) const;
};

inline constexpr std::size_t kMaxApiKeys = 1000;

// Parses the text of such a file. Each name and each digest may be there once.
// INVALID_ARGUMENT says what is wrong with the first bad entry: "line 12: ...".
absl::StatusOr<std::vector<ApiKey>> ParseApiKeys(std::string_view text);

// Reads and parses the file. NOT_FOUND: it cannot be read. INVALID_ARGUMENT names the file and the
// line: "keys.json:12: ...".
absl::StatusOr<std::vector<ApiKey>> LoadApiKeys(const std::string& file);

// Writes `keys` as ParseApiKeys reads them. Rates have nine digits.
std::string SerializeApiKeys(const std::vector<ApiKey>& keys);

// INVALID_ARGUMENT, with what is allowed, unless `name` can be a key's.
absl::Status CheckKeyName(std::string_view name);

// Makes a limit of `per_s` requests per second, of which `burst` may come at once. `per_s` 0: no
// limit. `burst` 0: the requests of one second, at least one. INVALID_ARGUMENT says what is
// allowed.
absl::StatusOr<RateLimit> MakeRateLimit(double per_s, int burst);

// Reads a time as RFC 3339 has it ("2027-06-30T12:00:00Z"), or a date, which ends with its day in
// UTC. INVALID_ARGUMENT says what is allowed.
absl::StatusOr<WallTime> ParseExpiry(const std::string& text);

}  // namespace inferpool
