// Decoders of YOLO outputs that hold every anchor. The caller suppresses duplicates.
#pragma once

#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/detection.h"
#include "worker/vision/model_plan.h"

namespace inferpool::vision {

// Reads [4 + classes, anchors], with boxes as cx, cy, w, h in the model's coordinates. Returns the
// anchors whose best class scores above `confidence`, in the input's coordinates and the anchors'
// order, with one class per box, as in Ultralytics' non_max_suppression. INTERNAL: the output is
// not such a tensor.
absl::StatusOr<Detections> ReadYoloV8(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      float confidence);

// Reads [anchors, 5 + classes], otherwise as above. The confidence is the objectness times the
// class's score; both the objectness and the product must be above `confidence`, as in YOLOv5's
// non_max_suppression.
absl::StatusOr<Detections> ReadYoloV5(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      float confidence);

}  // namespace inferpool::vision
