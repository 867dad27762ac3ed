// YOLO heads that answer with every anchor: decoded here, suppressed by the caller.
#pragma once

#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/detection.h"
#include "worker/vision/family.h"

namespace inferpool::vision {

// [4 + classes, anchors]; boxes are cx, cy, w, h in the model's coordinates. The anchors whose best
// class scores above `confidence`, in the input's coordinates, in the anchors' order. As
// Ultralytics' non_max_suppression, one class for each box. INTERNAL: not such a tensor.
absl::StatusOr<Detections> ReadYoloV8(const Plan& plan, std::span<const TensorView> outputs,
                                      float confidence);

// [anchors, 5 + classes]; confidence is objectness times the class's score, and both the
// objectness and the product must be above `confidence`, as in YOLOv5's non_max_suppression.
absl::StatusOr<Detections> ReadYoloV5(const Plan& plan, std::span<const TensorView> outputs,
                                      float confidence);

}  // namespace inferpool::vision
