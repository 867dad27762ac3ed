// Backend "add_sub": the first output is the sum of the two inputs, the second one their
// difference, element by element. Triton's "simple" models, with which its example clients and
// tests talk.
//
// The configuration names the two inputs, all of one datatype and the same dims; outputs that it
// leaves out are completed as OUTPUT0 and OUTPUT1. Integers wrap around. BYTES elements are decimal
// integers of 64 bits, as Triton's simple_string has them.
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Error: INVALID_ARGUMENT when the tensors are not as above.
absl::Status CompleteAddSub(inference::ModelConfig& config);

// One instance.
absl::StatusOr<std::unique_ptr<Engine>> MakeAddSubEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
