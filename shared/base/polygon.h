// Polygons in a picture whose sides are 1 long: from (0, 0), the upper left corner, to (1, 1).
#pragma once

#include <cstddef>
#include <vector>

namespace inferpool {

struct PolygonPoint {
  double x = 0;
  double y = 0;
  bool operator==(const PolygonPoint&) const = default;
};

using Polygon = std::vector<PolygonPoint>;

// Whether the point lies in the polygon, by the even-odd rule: a ray from it to the right crosses
// an odd number of edges. Fewer than three corners have nothing in them.
inline bool Contains(const Polygon& polygon, PolygonPoint at) {
  bool inside = false;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const PolygonPoint& a = polygon[i];
    const PolygonPoint& b = polygon[(i + 1) % polygon.size()];
    if ((a.y > at.y) == (b.y > at.y)) continue;
    if (at.x < a.x + (at.y - a.y) / (b.y - a.y) * (b.x - a.x)) inside = !inside;
  }
  return inside;
}

}  // namespace inferpool
