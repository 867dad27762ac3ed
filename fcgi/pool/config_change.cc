#include "fcgi/pool/config_change.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "fcgi/pool/roles.h"
#include "shared/config/config_keys.h"

namespace inferpool::fcgi {

namespace {

// Keys of the workers that nginx's configuration is made from as well.
constexpr std::array<std::string_view, 4> kAlsoNginx = {"limits.body_mb", "timeouts.request_s",
                                                        "timeouts.start_s", "timeouts.io_s"};

}  // namespace

ConfigChange Compare(const Config& before, const Config& after) {
  ConfigChange change;
  bool workers = false;
  bool sidecar = false;
  bool models = false;
  for (const ConfigKey* key : ChangedKeys(before, after)) {
    change.keys.emplace_back(key->name);
    if (std::ranges::find(kAlsoNginx, key->name) != kAlsoNginx.end()) {
      change.nginx.emplace_back(key->name);
    }
    switch (key->effect) {
      case ReloadEffect::kMaster:
        break;
      case ReloadEffect::kWorkers:
        workers = true;
        break;
      case ReloadEffect::kClients:
        workers = sidecar = true;
        break;
      case ReloadEffect::kModels:
        models = true;
        break;
      case ReloadEffect::kAll:
        workers = sidecar = models = true;
        break;
      case ReloadEffect::kNginx:
        change.nginx.emplace_back(key->name);
        break;
      case ReloadEffect::kStart:
        change.at_start.emplace_back(key->name);
        break;
    }
  }
  if (models) change.roll.push_back(kModelServer);
  if (sidecar) change.roll.push_back(kSidecar);
  if (workers) change.roll.push_back(kWorker);
  return change;
}

std::string ConfigChange::Describe() const {
  std::string text =
      keys.empty() ? "nothing has changed" : fmt::format("changed: {}", fmt::join(keys, ", "));
  if (!nginx.empty()) text += "; nginx needs its configuration rendered again and a reload";
  return text;
}

}  // namespace inferpool::fcgi
