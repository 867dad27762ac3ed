// An ensemble at work: other models, one after the other, as one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "modelserver/config/ensemble_plan.h"
#include "modelserver/execution/model_executor.h"
#include "modelserver/repository/model.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Repository's Find: the model that is ready now.
using FindModel = std::function<absl::StatusOr<std::shared_ptr<Model>>(const std::string& name,
                                                                       const std::string& version)>;

// Runs `plan`, which was made of `config`. Each request finds its models anew, so a model that is
// loaded again is used at once; they run as for any client, and their statistics count it. Steps
// run one after the other on the calling thread; those that no wanted output needs are left out. A
// tensor goes from step to step without a copy.
//
// Errors of Run: a step's, with its model's name; UNAVAILABLE when a model has gone;
// DEADLINE_EXCEEDED and CANCELLED between steps; INTERNAL when a model has changed so that the
// plan no longer fits.
std::unique_ptr<ModelExecutor> MakeEnsembleExecutor(inference::ModelConfig config,
                                                    EnsemblePlan plan, FindModel find);

}  // namespace inferpool::modelserver
