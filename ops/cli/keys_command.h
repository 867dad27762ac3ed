// `inferpool keys`: the file of API keys, edited so that a running pool never sees half of it.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool::ops {

struct KeysCommand {
  std::string file;  // the keys file itself; empty: the configuration's
  std::string config_file;
  ConfigOverrides overrides;
  std::string name;
  std::vector<std::string> models;
  std::vector<std::string> cameras;
  double rate_per_s = 0;
  int burst = 0;
  std::string priority = "normal";
  std::string expires;
};

// Adds `add`, `list` and `revoke` with their options.
struct KeysCommands {
  CLI::App* add;
  CLI::App* list;
  CLI::App* revoke;
};
KeysCommands AddKeysCommands(CLI::App& keys, KeysCommand& options);

// Each returns the exit status: 0, or 1 with what is wrong on stderr. The file is locked while it
// is changed, and replaced whole; it keeps its mode and owner.
int AddKey(const KeysCommand& command);  // prints the key, which is not kept anywhere
int ListKeys(const KeysCommand& command);
int RevokeKey(const KeysCommand& command);

// Whether auth.keys_file, when it is set, can be used.
absl::Status CheckKeysFile(const Config& config);

}  // namespace inferpool::ops
