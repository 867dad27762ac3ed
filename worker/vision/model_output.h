// The half of a plan that reads the model's answer. Rules and errors: model_plan.h.
#pragma once

#include <absl/status/statusor.h>

#include "proto/model_description.h"
#include "worker/vision/families/family_table.h"
#include "worker/vision/model_plan.h"
#include "worker/vision/parameters.h"

namespace inferpool::vision {

// Fills plan.family, plan.outputs and what else the family's decoder needs, and returns the
// family's row. Needs plan.input and plan.has_batch_dimension.
absl::StatusOr<const FamilyRow*> ReadOutputs(const ModelDescription& model,
                                             const Parameters& parameters, ModelPlan& plan);

}  // namespace inferpool::vision
