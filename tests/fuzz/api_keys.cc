// The file of API keys: what is read can be written, and says the same then.
#include "shared/access/api_keys.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "shared/base/utf8.h"
#include "tests/fuzz/check.h"

using namespace inferpool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::Text(data, size);
  const auto keys = ParseApiKeys(text);
  if (!keys.ok()) {
    HOLDS(absl::IsInvalidArgument(keys.status()) && !keys.status().message().empty());
    return 0;
  }
  HOLDS(keys->size() <= kMaxApiKeys);
  std::set<std::string> names;
  for (const ApiKey& key : *keys) {
    HOLDS(CheckKeyName(key.name).ok() && names.insert(key.name).second);
    HOLDS(key.rate.per_s >= 0 && (key.rate.per_s == 0 || key.rate.burst >= 1));
    HOLDS(!key.expires.empty() || key.expires_at == WallTime::max());
    HOLDS(!key.models.empty() || !key.MayUse("faces"));
    key.MayUse("");
    key.MayUse(text.substr(0, 200));
  }
  const auto again = ParseApiKeys(SerializeApiKeys(*keys));
  HOLDS(again.ok() && again->size() == keys->size());
  for (std::size_t i = 0; i < keys->size(); ++i) {
    const ApiKey& before = (*keys)[i];
    const ApiKey& after = (*again)[i];
    HOLDS(after.name == before.name && after.sha256 == before.sha256);
    const bool written_as_it_is = std::ranges::all_of(before.models, IsUtf8);
    HOLDS(after.models == before.models || !written_as_it_is);
    HOLDS(after.priority == before.priority);
    // Rates are written with nine digits, for people.
    HOLDS(std::abs(after.rate.per_s - before.rate.per_s) <= 1e-8 * before.rate.per_s);
    HOLDS(after.rate.burst == before.rate.burst);
    HOLDS(after.expires_at == before.expires_at);
  }
  return 0;
}
