// One found object.
#pragma once

#include <vector>

namespace inferpool::vision {

// A box from (x1, y1), top left, to (x2, y2), bottom right, in pixels; a picture's left edge is 0
// and its right edge is its width. `confidence` is the model's own value, usually 0 to 1.
struct Detection {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float confidence = 0;
  int class_id = 0;
};

using Detections = std::vector<Detection>;

}  // namespace inferpool::vision
