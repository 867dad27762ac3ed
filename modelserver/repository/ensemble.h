// Runs an ensemble: its steps' models as one model.
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

// Finds the model that is ready now, as Repository::Find does.
using FindModel = std::function<absl::StatusOr<std::shared_ptr<Model>>(const std::string& name,
                                                                       const std::string& version)>;

// Makes what runs `plan`, which PlanEnsemble has made of `config`. Each request finds the steps'
// models again, so a model that was loaded again is used at once. The models run as for any client,
// and their own statistics count it. A step runs as soon as its inputs are made, side by side with
// others, on a thread of its own where steps take long enough for that; a step that no wanted
// output needs does not run. A tensor goes from step to step without a copy.
//
// Run's errors are a step's, with its model's name; UNAVAILABLE when a model is not ready any more;
// DEADLINE_EXCEEDED and CANCELLED between two steps; INTERNAL when a model has changed so that the
// plan does not fit it.
std::unique_ptr<ModelExecutor> MakeEnsembleExecutor(inference::ModelConfig config,
                                                    EnsemblePlan plan, FindModel find);

}  // namespace inferpool::modelserver
