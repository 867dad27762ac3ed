// `inferpool serve`: builds the roles of a pool and runs the master over them.
#pragma once

#include "shared/config.h"

namespace inferpool::ops {

// Runs until the master has stopped. Returns the exit status; what keeps it from starting is one
// line on stderr.
int Serve(const Config& config);

}  // namespace inferpool::ops
