// The table of configuration keys: their names, limits, meanings and effects. The members that they
// set, with the defaults, are in config.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shared/config/config.h"
#include "shared/config/member_problem.h"

namespace Json {
class Value;
}

namespace inferpool {

struct IntegerKey {
  int& (*field)(Config&);
  int min;
  int max;
};

struct NumberKey {
  double& (*field)(Config&);
  double min;
  double max;
};

struct BooleanKey {
  bool& (*field)(Config&);
};

// `words`: the allowed values; empty: any text.
struct TextKey {
  std::string& (*field)(Config&);
  std::span<const std::string_view> words = {};
};

// A path. A relative path is made absolute; an allowed empty one stays empty. `other` is a value
// that is allowed and is not a path: exactly this word, or any text that begins with it when it
// ends in a colon.
struct PathKey {
  std::string& (*field)(Config&);
  bool may_be_empty = false;
  std::string_view other = {};
};

struct TextListKey {
  std::vector<std::string>& (*field)(Config&);
};

// An object whose members have names of the operator's choice: a model each, for example.
struct ObjectKey {
  std::string_view member;  // what stands for one in texts: "\"MODEL\": { ... }"
  // Sets the field and returns what is wrong. Relative paths are below `folder`.
  std::vector<MemberProblem> (*read)(const Json::Value& object, const std::string& folder,
                                     Config& config);
  std::string (*text)(const Config& config);  // as JSON
};

using KeyKind =
    std::variant<IntegerKey, NumberKey, BooleanKey, TextKey, PathKey, TextListKey, ObjectKey>;

// How a changed value takes effect when a running pool reads its configuration again.
enum class ReloadEffect {
  kMaster,   // at once: only the master uses it
  kWorkers,  // the workers are replaced, one by one
  kClients,  // the workers and the sidecar are replaced
  kModels,   // the model server is replaced
  kAll,      // workers, sidecar and model server are replaced
  kIngest,   // the ingest processes are replaced, one by one
  kRules,    // the process that goes by the rules is replaced
  kNginx,    // when nginx's configuration is rendered again and nginx reloaded
  kStart,    // at the next start only: the reload is refused
};

struct ConfigKey {
  std::string_view name;  // dotted: "limits.body_mb"
  KeyKind kind;
  std::string_view meaning;
  ReloadEffect effect;
};

std::span<const ConfigKey> ConfigKeys();

// Says which values the key allows: "a whole number from 1 to 1024".
std::string Allowed(const ConfigKey& key);

// Returns "at once", "replaces the workers", ...: for docs/configuration.md and for people.
std::string_view Describe(ReloadEffect effect);

// Returns the keys whose values differ.
std::vector<const ConfigKey*> ChangedKeys(const Config& before, const Config& after);

// Returns the key's value in `config` as an override, "key=value".
std::string ToOverride(const ConfigKey& key, const Config& config);

// Returns the key's value in `config` as JSON text.
std::string ValueOf(const ConfigKey& key, const Config& config);

}  // namespace inferpool
