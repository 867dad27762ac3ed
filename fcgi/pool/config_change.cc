#include "fcgi/pool/config_change.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "shared/config/config_keys.h"

namespace inferpool::fcgi {

namespace {

// Keys of processes of the pool that nginx's configuration is made from as well.
constexpr std::array<std::string_view, 6> kAlsoNginx = {"limits.body_mb",   "timeouts.request_s",
                                                        "timeouts.start_s", "timeouts.io_s",
                                                        "nginx.base_path",  "streams.workers"};

}  // namespace

ConfigChange Compare(const RoleTable& roles, const Config& before, const Config& after) {
  ConfigChange change;
  const std::vector<const ConfigKey*> changed = ChangedKeys(before, after);
  for (const ConfigKey* key : changed) {
    change.keys.emplace_back(key->name);
    if (key->effect == ReloadEffect::kNginx ||
        std::ranges::find(kAlsoNginx, key->name) != kAlsoNginx.end()) {
      change.nginx.emplace_back(key->name);
    }
    if (key->effect == ReloadEffect::kStart) change.at_start.emplace_back(key->name);
  }
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const bool replaced = std::ranges::any_of(changed, [&](const ConfigKey* key) {
      return std::ranges::find(roles[i].replaced_by, key->effect) != roles[i].replaced_by.end();
    });
    if (replaced) change.roll.push_back(static_cast<int>(i));
  }
  return change;
}

std::string ConfigChange::Describe() const {
  std::string text =
      keys.empty() ? "nothing has changed" : fmt::format("changed: {}", fmt::join(keys, ", "));
  if (!nginx.empty()) text += "; nginx needs its configuration rendered again and a reload";
  return text;
}

}  // namespace inferpool::fcgi
