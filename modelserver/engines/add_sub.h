// Backend "add_sub": the first output is the sum of the two inputs and the second one their
// difference, element by element. These are Triton's "simple" models, which its example clients and
// tests use.
//
// The configuration has two inputs of the same datatype and dims. When it has no outputs, they are
// completed as OUTPUT0 and OUTPUT1. Integers wrap around. BYTES elements are decimal integers of 64
// bits, as in Triton's model simple_string.
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Completes the configuration. INVALID_ARGUMENT when its tensors are not as above.
absl::Status CompleteAddSub(inference::ModelConfig& config);

// Makes one instance of a completed configuration.
absl::StatusOr<std::unique_ptr<Engine>> MakeAddSubEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
