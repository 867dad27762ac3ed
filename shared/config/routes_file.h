// The file of changes to a pool's routes, in its state folder: what `inferpool routes` writes and
// workers look at. It has all routes as they shall be, and wins over the configuration for as long
// as the configuration has the routes that it was made from.
//
//   {"configuration": "<16 hexadecimal digits>", "routes": {...}, "before": {...},
//    "changes": [{"number": 1, "at": "2026-11-30T08:30:00Z", "by": "root", "what": "promote a"}]}
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool {

struct RoutesChange {
  std::int64_t number = 0;  // 1, 2, 3 ... of the pool's folder
  std::string at = {};      // RFC 3339, UTC
  std::string by = {};      // who made it
  std::string what = {};    // "promote objects"
};

struct RoutesFile {
  std::uint64_t configuration = 0;  // DigestOf the routes that the configuration had
  Config::Routes routes = {};
  Config::Routes before = {};              // what promotions have replaced, by the route's name
  std::vector<RoutesChange> changes = {};  // the latest last; a few

  // The number of the latest change; 0 when there was none.
  std::int64_t number() const { return changes.empty() ? 0 : changes.back().number; }

  // Whether it counts beside a configuration that has these routes.
  bool CountsFor(const Config::Routes& configured) const;
};

// Where the file is in that state folder.
std::string RoutesFilePath(const std::string& state);

// Where workers keep a copy of the last such file that was good.
std::string KeptRoutesPath(const std::string& state);

// Parses such a file, with all the checks that the configuration's routes have. INVALID_ARGUMENT
// says what is wrong.
absl::StatusOr<RoutesFile> ParseRoutesFile(std::string_view text);

// Reads and parses it. NOT_FOUND: there is none.
absl::StatusOr<RoutesFile> LoadRoutesFile(const std::string& path);

std::string SerializeRoutesFile(const RoutesFile& file);

// Sets the route to an object ("{...}"), or members of it ("canary.percent=25"), or takes it or
// members away ("null", "canary=null"). A value is JSON, or else a text. INVALID_ARGUMENT says what
// the routes would then have that is wrong; `file` stays as it was.
absl::Status SetRoute(RoutesFile& file, const std::string& name,
                      const std::vector<std::string>& assignments);

// The canary becomes what the route leads to. FAILED_PRECONDITION: there is no canary.
absl::Status PromoteRoute(RoutesFile& file, const std::string& name);

// Takes the canary away; where there is none, what the route led to before the latest promotion
// comes back. FAILED_PRECONDITION: there was none either.
absl::Status RollBackRoute(RoutesFile& file, const std::string& name);

// Adds the change that was made. The oldest ones go when there are many.
void AddChange(RoutesFile& file, RoutesChange change);

}  // namespace inferpool
