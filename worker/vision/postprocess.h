// Reads a model's outputs as a result: detections, classes or an embedding.
#pragma once

#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/result.h"
#include "worker/vision/model_plan.h"

namespace inferpool::vision {

// Reads the outputs of `plan` for the one picture that lay at `placement`; others are ignored.
// Detections are in the picture's pixels, clipped to it, most confident first; a confidence is 0 to
// 1, and a class id is within the class names where there are any. Boxes without an area in the
// picture are dropped. The families whose nets suppress duplicates themselves get no second
// suppression. Thread safe.
//
// An answer is right, or there is none. INTERNAL: the server's answer is not what the plan says: a
//   tensor is missing, or of another datatype, shape or length; or a value is not finite.
// FAILED_PRECONDITION: the numbers show that the outputs are not what the plan takes them for (a
//   score outside of 0..1, a class that is no whole number or beyond the names, boxes in other
//   units or far outside of the input); the text says what to set. RESOURCE_EXHAUSTED: out of
//   memory.
absl::StatusOr<Result> Postprocess(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   const Placement& placement, const Options& options);

}  // namespace inferpool::vision
