#include "worker/vision/families/nms.h"

#include <utility>

namespace inferpool::vision {
namespace {

float Area(const Candidate& box) {
  return (box.x2 - box.x1) * (box.y2 - box.y1);
}

float IntersectionOverUnion(const Candidate& a, const Candidate& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) {
    return 0;
  }
  const float intersection = width * height;
  return intersection / (Area(a) + Area(b) - intersection);
}

}  // namespace

Candidates SuppressNonMaxima(Candidates candidates, float iou, std::size_t max_detections,
                             Alike alike) {
  return Suppress(std::move(candidates), IntersectionOverUnion, iou, max_detections, alike);
}

}  // namespace inferpool::vision
