// A box that a decoder has read, before non-maximum suppression.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/vision/families/detection.h"

namespace inferpool::vision {

// Small, because there may be tens of thousands. In the input's coordinates.
struct Candidate {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float confidence = 0;
  int class_id = 0;
  // The anchor or row of the output that it was read from, where its mask, keypoints or angle are.
  std::uint32_t source = 0;
};

using Candidates = std::vector<Candidate>;

inline Detection ToDetection(const Candidate& box) {
  return {box.x1, box.y1, box.x2, box.y2, box.confidence, box.class_id};
}

}  // namespace inferpool::vision
