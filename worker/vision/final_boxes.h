// Detectors that suppress duplicates themselves and answer with finished boxes.
#pragma once

#include <absl/status/statusor.h>

#include <span>

#include "proto/datatype.h"
#include "worker/vision/detection.h"
#include "worker/vision/family.h"

namespace inferpool::vision {

// num_dets [1] INT32, then the first num_dets rows of det_boxes [N, 4], det_scores [N] and
// det_classes [N] (INT32 or floating point), as TensorRT's EfficientNMS plugin gives them. Those
// above `confidence`, in the input's coordinates, in the answer's order. INTERNAL: not such
// tensors, or num_dets is negative or above N.
absl::StatusOr<Detections> ReadEndToEnd(const Plan& plan, std::span<const TensorView> outputs,
                                        float confidence);

// [N, 6]: x1, y1, x2, y2, score, class. Otherwise as above.
absl::StatusOr<Detections> ReadNmsFree(const Plan& plan, std::span<const TensorView> outputs,
                                       float confidence);

}  // namespace inferpool::vision
