#include "worker/vision/nms.h"

#include <algorithm>

namespace inferpool::vision {
namespace {

constexpr std::size_t kMaxCandidates = 30000;

float Area(const Detection& box) {
  return (box.x2 - box.x1) * (box.y2 - box.y1);
}

float IntersectionOverUnion(const Detection& a, const Detection& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) {
    return 0;
  }
  const float intersection = width * height;
  return intersection / (Area(a) + Area(b) - intersection);
}

}  // namespace

void KeepMostConfident(Detections& detections, std::size_t max_detections) {
  std::stable_sort(
      detections.begin(), detections.end(),
      [](const Detection& a, const Detection& b) { return a.confidence > b.confidence; });
  if (detections.size() > max_detections) {
    detections.resize(max_detections);
  }
}

Detections SuppressNonMaxima(Detections candidates, float iou, std::size_t max_detections) {
  KeepMostConfident(candidates, kMaxCandidates);
  Detections kept;
  for (const Detection& candidate : candidates) {
    if (kept.size() >= max_detections) {
      break;
    }
    const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](const Detection& better) {
      return better.class_id == candidate.class_id &&
             IntersectionOverUnion(better, candidate) > iou;
    });
    if (!suppressed) {
      kept.push_back(candidate);
    }
  }
  return kept;
}

}  // namespace inferpool::vision
