// `inferpool routes`: what routes lead to, changed while the pool runs and without a reload. The
// file of changes (shared/config/routes_file.h) is locked while it is changed, and replaced whole.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "shared/config/config.h"

namespace inferpool::ops {

struct RoutesCommand {
  std::string config_file;
  ConfigOverrides overrides;
  std::string name;
  std::vector<std::string> assignments;
  bool json = false;
};

// Adds `list`, `set`, `promote` and `rollback` with their options.
struct RoutesCommands {
  CLI::App* list;
  CLI::App* set;
  CLI::App* promote;
  CLI::App* rollback;
};
RoutesCommands AddRoutesCommands(CLI::App& routes, RoutesCommand& options);

// Each returns the exit status: 0, or 1 with what is wrong on stderr. Those that change something
// return when all workers of the running pool go by it.
int ListRoutes(const RoutesCommand& command);
int SetRoute(const RoutesCommand& command);
int PromoteRoute(const RoutesCommand& command);
int RollBackRoute(const RoutesCommand& command);

}  // namespace inferpool::ops
