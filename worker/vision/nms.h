// Non-maximum suppression.
#pragma once

#include <cstddef>

#include "worker/vision/detection.h"

namespace inferpool::vision {

// Of `candidates`, the most confident that overlap no more confident one of the same class by more
// than `iou` (intersection over union), most confident first, equal ones in their old order, at
// most `max_detections`. Boxes must have an area.
//
// Only the 30000 most confident candidates are looked at, as Ultralytics' max_nms. Sorting is
// O(n log n), suppression O(n x kept).
Detections SuppressNonMaxima(Detections candidates, float iou, std::size_t max_detections);

// Most confident first, equal ones in their old order, at most `max_detections`.
void KeepMostConfident(Detections& detections, std::size_t max_detections);

}  // namespace inferpool::vision
