// The commands that talk to a running pool: status, reload, scale, quarantine. Status and the list
// of the quarantine only read the scoreboard, which works whatever the master does; the others ask
// the master.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "shared/config/config.h"

namespace inferpool::ops {

struct PoolCommand {
  std::string state;  // the pool's folder; empty: the configuration's
  std::string config_file;
  ConfigOverrides overrides;
  bool json = false;
  bool watch = false;
  int workers = 0;
  int patience_s = 120;
};

// Adds --state, -c and --set: which pool is meant.
void AddPoolOptions(CLI::App& command, PoolCommand& options);

// Each returns the exit status: 0, or 1 with what is wrong on stderr.
int Status(const PoolCommand& command);
int Reload(const PoolCommand& command);
int Scale(const PoolCommand& command);
int ListQuarantine(const PoolCommand& command);
int ClearQuarantine(const PoolCommand& command);

}  // namespace inferpool::ops
