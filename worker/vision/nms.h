// Non-maximum suppression.
#pragma once

#include <cstddef>

#include "worker/vision/detection.h"

namespace inferpool::vision {

// Drops every candidate that overlaps a more confident one of its class by more than `iou`
// (intersection over union), and returns the `max_detections` most confident of the rest, most
// confident first, equal ones in their old order. Boxes must have an area.
//
// Only the 30000 most confident candidates are considered, as with Ultralytics' max_nms. Sorting is
// O(n log n), suppression O(n x kept).
Detections SuppressNonMaxima(Detections candidates, float iou, std::size_t max_detections);

// Sorts the most confident first, equal ones in their old order, and keeps `max_detections`.
void KeepMostConfident(Detections& detections, std::size_t max_detections);

}  // namespace inferpool::vision
