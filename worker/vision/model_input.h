// The half of a plan that feeds the model. Rules and errors: model_plan.h.
#pragma once

#include <absl/status/status.h>

#include "proto/model_description.h"
#include "worker/vision/model_plan.h"
#include "worker/vision/parameters.h"

namespace inferpool::vision {

// Fills plan.input_name, plan.has_batch_dimension and plan.input, but for what depends on the
// family.
absl::Status ReadInput(const ModelDescription& model, const Parameters& parameters,
                       ModelPlan& plan);

// Fills the rest of plan.input: how the picture is resized and what its bytes become.
absl::Status ReadPreparation(const ModelDescription& model, const Parameters& parameters,
                             const FamilyRow& family, ModelPlan& plan);

}  // namespace inferpool::vision
