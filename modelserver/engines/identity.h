// Backend "identity": output i is input i, whatever it holds. For tests, measurements and as a
// stand-in for a model, as Triton's backend of the same name is.
//
// The configuration names the inputs, of any datatypes and dims; outputs that it leaves out are
// completed as OUTPUT0, OUTPUT1, ... of the same.
//
// Parameters:
//   execute_delay_ms  0  (0 to 60000)  time that an execution takes, however many requests it has
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Error: INVALID_ARGUMENT when the outputs are not the inputs' match.
absl::Status CompleteIdentity(inference::ModelConfig& config);

// One instance. Error: INVALID_ARGUMENT for a parameter out of range.
absl::StatusOr<std::unique_ptr<Engine>> MakeIdentityEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
