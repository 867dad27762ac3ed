// The half of a plan that reads the model's answer. Rules and errors: model_plan.h.
#pragma once

#include <absl/status/status.h>

#include "proto/model_description.h"
#include "worker/vision/model_plan.h"
#include "worker/vision/parameters.h"

namespace inferpool::vision {

// Fills plan.family, plan.classes and plan.outputs. Needs plan.has_batch_dimension.
absl::Status ReadOutputs(const ModelDescription& model, const Parameters& parameters,
                         ModelPlan& plan);

}  // namespace inferpool::vision
