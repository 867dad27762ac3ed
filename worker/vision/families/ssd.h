// The family ssd: boxes, scores and classes as outputs of their own, duplicates suppressed.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/candidate.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Reads plan.outputs: boxes [N, 4], scores [N], classes [N] and, when there is a fourth, how many
// of the N rows count. A box is x1, y1, x2, y2, or y1, x1, y2, x2 (plan.corners_y_first); a class's
// number less plan.first_class is its class id. Returns the rows above `confidence`, in the model's
// coordinates and order. Errors as in nms_free_decoders.h.
absl::StatusOr<Candidates> ReadSsd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   float confidence);

// For the family table. What the outputs are is told by their names:
//
// | of                       | names                                          | boxes, first class
// | | ------------------------ | ---------------------------------------------- |
// ------------------ | | TensorFlow               | detection_boxes, detection_scores, | y1, x1,
// y2, x2 of  | |                          | detection_classes, num_detections              | 0..1;
// 1            | | TensorFlow Lite          | TFLite_Detection_PostProcess, ...:1 (classes), | y1,
// x1, y2, x2 of  | |                          | ...:2 (scores), ...:3 (count)                  |
// 0..1; 0            | | torchvision              | boxes, scores, labels | x1, y1, x2, y2; 0  |
//
// or, as torchvision exports them without names, by their shapes: three outputs, of which one is
// [N, 4], one floating-point [N], and one INT64 [N]. The parameter "first_class" says otherwise
// which number the first class name has.
bool ClaimsSsd(const OutputFacts& facts);
absl::Status PlanSsd(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectSsd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                 const Placement& placement, const Options& options);

}  // namespace inferpool::vision
