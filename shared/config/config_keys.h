// The table of configuration keys: the one place where a key, its limits and its meaning stand.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shared/config/config.h"

namespace inferpool {

struct IntegerKey {
  int& (*field)(Config&);
  int least;
  int most;
};

struct NumberKey {
  double& (*field)(Config&);
  double least;
  double most;
};

struct BooleanKey {
  bool& (*field)(Config&);
};

// `words`: the allowed values; empty: any text.
struct TextKey {
  std::string& (*field)(Config&);
  std::span<const std::string_view> words = {};
};

// A path; relative ones are made absolute. Empty, where it may be, stays empty. `other`: what may
// stand there and is no path: this very word, or, when it ends in a colon, whatever begins with it.
struct PathKey {
  std::string& (*field)(Config&);
  bool may_be_empty = false;
  std::string_view other = {};
};

struct TextListKey {
  std::vector<std::string>& (*field)(Config&);
};

using KeyKind = std::variant<IntegerKey, NumberKey, BooleanKey, TextKey, PathKey, TextListKey>;

// How a changed value takes effect when a running pool reads its configuration again.
enum class Reach {
  kMaster,   // at once: the master alone uses it
  kWorkers,  // the workers are replaced, one by one
  kClients,  // the workers and the sidecar are
  kModels,   // the model server is
  kAll,      // workers, sidecar and model server are
  kNginx,    // render nginx's configuration again and reload nginx
  kStart,    // not before a new start: the reload is refused
};

struct ConfigKey {
  std::string_view name;  // dotted: "limits.body_mb"
  KeyKind kind;
  std::string_view meaning;
  Reach reach;
};

std::span<const ConfigKey> ConfigKeys();

// What the key allows: "a whole number from 1 to 1024".
std::string Allowed(const ConfigKey& key);

// "at once", "replaces the workers": for the table in docs/configuration.md and for people.
std::string_view Effect(Reach reach);

// The keys whose values differ.
std::vector<const ConfigKey*> ChangedKeys(const Config& before, const Config& after);

// The key's value in `config` as an override, "key=value".
std::string ToOverride(const ConfigKey& key, const Config& config);

// The key's value in `config`, as JSON text.
std::string ValueOf(const ConfigKey& key, const Config& config);

}  // namespace inferpool
