// One found object.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace inferpool::vision {

// A picture's left edge is x = 0 and its right edge is its width.
struct Point {
  float x = 0;
  float y = 0;

  bool operator==(const Point&) const = default;
};

struct Keypoint {
  float x = 0;
  float y = 0;
  float confidence = 0;  // 0 to 1

  bool operator==(const Keypoint&) const = default;
};

// The corners of an area, in order, without the first one again at the end.
using Polygon = std::vector<Point>;

// A box from (x1, y1), top left, to (x2, y2), bottom right, in pixels, with what else the model's
// family says of the object. `confidence` is 0 to 1.
struct Detection {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float confidence = 0;
  int class_id = 0;
  // The four corners of a turned box, clockwise; the box above is the upright one around it. Empty
  // in families that do not turn boxes. A corner may lie outside of the picture.
  std::vector<Point> corners = {};
  // One for each keypoint of the model, in its order; empty in families without them.
  std::vector<Keypoint> keypoints = {};
  // The object's outline, one polygon for each part that is seen; empty in families without masks.
  std::vector<Polygon> mask = {};
  // What is written there, in UTF-8; none in families that do not read.
  std::optional<std::string> text = {};
};

using Detections = std::vector<Detection>;

}  // namespace inferpool::vision
