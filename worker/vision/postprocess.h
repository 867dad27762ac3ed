// Reads a model's outputs as a result: detections, classes or an embedding.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include "proto/datatype.h"
#include "worker/vision/detection.h"
#include "worker/vision/model_plan.h"
#include "worker/vision/placement.h"

namespace inferpool::vision {

struct Options {
  float confidence = 0.25F;          // detections must be more confident
  float iou = 0.45F;                 // overlap above which the raw families' boxes are one object
  std::size_t max_detections = 300;  // the most confident
  std::size_t top_k = 5;             // classes of a classification
};

struct ClassScore {
  int class_id = 0;
  float confidence = 0;  // a probability
};

// Most probable first, equal ones by class id; at most Options::top_k. Options::confidence is not
// applied.
struct Classification {
  std::vector<ClassScore> scores;
};

// The model's values, not normalised.
struct Embedding {
  std::vector<float> values;
};

using Result = std::variant<Detections, Classification, Embedding>;

// Reads the outputs of `plan` for the one picture that lay at `placement`; others are ignored.
// Detections are in the picture's pixels, clipped to it, most confident first. Boxes without an
// area in the picture are dropped, and so is whatever is not a finite number. A class id is never
// negative; where the family's outputs carry ids it may be beyond the class names. The families
// end_to_end and nms_free get no second suppression. Thread safe.
//
// INTERNAL: the server's answer is not what the plan says: a tensor is missing, or of another
//   datatype, shape or length; or an embedding is not finite. RESOURCE_EXHAUSTED: out of memory.
absl::StatusOr<Result> Postprocess(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   const Placement& placement, const Options& options);

}  // namespace inferpool::vision
