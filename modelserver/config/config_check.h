// What a model's configuration must say once it is complete, and what of it has no effect here.
#pragma once

#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// platform "ensemble", or steps: the model is a plan of other models (ensemble.h).
bool IsEnsemble(const inference::ModelConfig& config);

// Whether a completed configuration can be served: every tensor has a name, a datatype and
// dimensions; sizes and counts are in range; the dynamic batcher's settings agree with each other;
// nothing asks for what this server does not do (sequences, decoupled models, batch_input,
// batch_output, shape tensors; a reshape, which an ensemble cannot have and a model's backend does
// not see, reshape.h). An ensemble's steps are checked elsewhere (ensemble_plan.h), as they depend
// on other models. Error: INVALID_ARGUMENT.
absl::Status CheckConfig(const inference::ModelConfig& config);

// Settings that the configuration has and this server ignores, for the log.
std::vector<std::string> UnusedSettings(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
