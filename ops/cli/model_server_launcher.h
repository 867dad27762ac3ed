// The embedded model server: a program of its own (own_files.h), which the pool starts.
#pragma once

#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool::ops {

// What keeps the model server of this configuration, if it has one, from being started: NOT_FOUND
// without the program or the folder of models.
absl::Status CheckModelServer(const Config& config);

// What the configuration names for a model server that runs already: NOT_FOUND without the folder
// of models, or the library of ONNX Runtime where one is named.
absl::Status CheckModelFiles(const Config& config);

// Becomes the model server, and takes nothing of the pool along; returns the exit status when that
// fails.
int ExecModelServer(const Config& config);

// Removes the socket and the shared memory of a pool that has stopped, which are still there when
// its processes had to be killed.
void RemoveTracesOfModelServer(const Config& config);

}  // namespace inferpool::ops
