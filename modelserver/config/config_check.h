// Checks a model's completed configuration, and finds the settings that have no effect here.
#pragma once

#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Whether the model is an ensemble, which runs other models as its steps: its platform is
// "ensemble", or it has ensemble_scheduling.
bool IsEnsemble(const inference::ModelConfig& config);

// Whether the model is run by ONNX Runtime: it names that backend or Triton's platform of it, or
// nothing.
bool IsOnnx(const inference::ModelConfig& config);

// Checks that a completed configuration can be served. INVALID_ARGUMENT unless
//  - every tensor has a name of its own, a datatype and valid dimensions,
//  - sizes and counts are in range,
//  - the settings of the dynamic batcher agree with each other, and
//  - it asks for nothing that this server does not do: sequences, decoupled models, batch_input,
//    batch_output, shape tensors.
// It must not have a reshape: EngineConfig (reshape.h) has removed a model's, and an ensemble
// cannot have one. The steps of an ensemble depend on other models, so PlanEnsemble
// (ensemble_plan.h) checks them.
absl::Status CheckConfig(const inference::ModelConfig& config);

// The settings of the configuration that this server ignores, as texts for the log.
std::vector<std::string> UnusedSettings(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
