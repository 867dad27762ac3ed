// Families of turned boxes: yolov8_obb and obb_nms_free.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "proto/datatype.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/detection.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// A rectangle of `width` along the direction of `angle`, in radians clockwise from the x axis, and
// `height` across it.
struct TurnedBox {
  float cx = 0;
  float cy = 0;
  float width = 0;
  float height = 0;
  float angle = 0;
  float confidence = 0;
  int class_id = 0;
};

// The corners, clockwise; the first is the upper left one of a box that is not turned.
std::vector<Point> CornersOf(const TurnedBox& box);

// How much two turned boxes overlap, 0 to 1: Llerena et al., "Probabilistic intersection over union
// for training and evaluation of oriented object detectors" (2021), as Ultralytics takes for
// suppression.
float ProbabilisticOverlap(const TurnedBox& a, const TurnedBox& b);

// As Finish (boxes.h), with the corners of each box.
absl::StatusOr<Result> FinishTurned(const ModelPlan& plan, std::vector<TurnedBox> boxes,
                                    const Placement& placement, const Options& options,
                                    Duplicates duplicates);

// For the family table. yolov8_obb: [4 + classes + 1, anchors]: cx, cy, w, h, the scores, the
// angle. obb_nms_free: [N, 7]: cx, cy, w, h, score, class, angle.
bool ClaimsYoloV8Obb(const OutputFacts& facts);
bool ClaimsObbNmsFree(const OutputFacts& facts);
absl::Status PlanYoloV8Obb(const OutputFacts& facts, ModelPlan& plan);
absl::Status PlanObbNmsFree(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectYoloV8Obb(const ModelPlan& plan, std::span<const TensorView> outputs,
                                       const Placement& placement, const Options& options);
absl::StatusOr<Result> DetectObbNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        const Placement& placement, const Options& options);

}  // namespace inferpool::vision
