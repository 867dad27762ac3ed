// Decoders of outputs whose model has already suppressed duplicates.
#pragma once

#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/detection.h"
#include "worker/vision/model_plan.h"

namespace inferpool::vision {

// Reads num_dets [1] INT32, then the first num_dets rows of det_boxes [N, 4], det_scores [N] and
// det_classes [N] (INT32 or floating point), as TensorRT's EfficientNMS plugin writes them. Returns
// the detections above `confidence`, in the input's coordinates and the answer's order. INTERNAL:
// the outputs are not such tensors, or num_dets is negative or above N.
absl::StatusOr<Detections> ReadEndToEnd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        float confidence);

// Reads [N, 6]: x1, y1, x2, y2, score, class. Otherwise as above.
absl::StatusOr<Detections> ReadNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                       float confidence);

}  // namespace inferpool::vision
