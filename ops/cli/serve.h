// `inferpool serve`: opens what a pool is built on and runs the master over it.
#pragma once

#include <string>

#include "shared/config/config.h"

namespace inferpool::ops {

// Runs until the master has stopped. `config` was read from `config_file` with `overrides`, which a
// reload reads again. Returns the exit status; what keeps it from starting is one line on stderr.
int Serve(Config config, const std::string& config_file, const ConfigOverrides& overrides);

}  // namespace inferpool::ops
