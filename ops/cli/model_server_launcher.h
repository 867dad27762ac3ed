// The embedded model server: a program of its own, which lies beside this one and which the pool
// starts.
#pragma once

#include <string>

#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool::ops {

// `own_program` is the path of the running program.

// What keeps the model server of this configuration, if it has one, from being started: NOT_FOUND
// without the program or the folder of models.
absl::Status CheckModelServer(const Config& config, const std::string& own_program);

// The folder alone, for a model server that runs already.
absl::Status CheckRepository(const Config& config);

// Becomes the model server, and takes nothing of the pool along; returns the exit status when that
// fails.
int ExecModelServer(const Config& config, const std::string& own_program);

// Removes the socket and the shared memory of a pool that has stopped, which are still there when
// its processes had to be killed.
void RemoveTracesOfModelServer(const Config& config);

}  // namespace inferpool::ops
