#include "worker/vision/families/result.h"

#include <algorithm>

namespace inferpool::vision {

float Options::ConfidenceOf(int class_id) const {
  const auto own = class_confidence.find(class_id);
  return own == class_confidence.end() ? confidence : own->second;
}

float Options::LeastConfidence() const {
  float least = confidence;
  for (const auto& [class_id, own] : class_confidence) {
    if (Wants(class_id)) {
      least = std::min(least, own);
    }
  }
  return least;
}

}  // namespace inferpool::vision
