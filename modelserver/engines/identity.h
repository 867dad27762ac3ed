// Backend "identity": output i is a copy of input i. It is for tests, for measurements, and to
// stand in for a model, like Triton's backend of that name.
//
// The configuration has inputs of any datatypes and dims. When it has no outputs, they are
// completed as OUTPUT0, OUTPUT1, ... with the inputs' datatypes and dims.
//
// Parameters:
//   execute_delay_ms  0  (0 to 60000)  the time that a batch takes, whatever its size
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Completes the configuration. INVALID_ARGUMENT when the outputs do not match the inputs.
absl::Status CompleteIdentity(inference::ModelConfig& config);

// Makes one instance of a completed configuration. INVALID_ARGUMENT when a parameter is out of
// range.
absl::StatusOr<std::unique_ptr<Engine>> MakeIdentityEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
