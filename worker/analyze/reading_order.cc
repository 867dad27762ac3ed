#include "worker/analyze/reading_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace inferpool::analyze {
namespace {

using vision::Point;

Point Along(const LineCorners& line) {
  return {line[1].x - line[0].x, line[1].y - line[0].y};
}

// The unit vector in which most of the text runs.
Point Direction(std::span<const LineCorners> lines) {
  constexpr float kCosine = 0.94F;  // of 20 degrees
  Point best{1, 0};
  float most = 0;
  for (const LineCorners& line : lines) {
    const Point along = Along(line);
    const float length = std::hypot(along.x, along.y);
    if (!(length > 0)) continue;
    const Point unit{along.x / length, along.y / length};
    float sum = 0;
    for (const LineCorners& other : lines) {
      const Point beside = Along(other);
      const float other_length = std::hypot(beside.x, beside.y);
      if (unit.x * beside.x + unit.y * beside.y >= kCosine * other_length) sum += other_length;
    }
    if (sum > most) {
      most = sum;
      best = unit;
    }
  }
  return best;
}

// A line as seen in that direction.
struct Seen {
  std::size_t number;
  float left;
  float top;
  float bottom;

  float height() const { return bottom - top; }
  float middle() const { return (top + bottom) / 2; }
};

Seen See(std::size_t number, const LineCorners& line, Point direction) {
  const auto x = [&](Point at) { return at.x * direction.x + at.y * direction.y; };
  const auto y = [&](Point at) { return at.y * direction.x - at.x * direction.y; };
  const auto [top, bottom] = std::ranges::minmax(line, {}, y);
  return {number, x(std::ranges::min(line, {}, x)), y(top), y(bottom)};
}

bool IsOneRow(const Seen& one, const Seen& other) {
  const float shared = std::min(one.bottom, other.bottom) - std::max(one.top, other.top);
  return shared >= std::max(one.height(), other.height()) / 2;
}

}  // namespace

std::vector<std::size_t> ReadingOrder(std::span<const LineCorners> lines) {
  const Point direction = Direction(lines);
  std::vector<Seen> seen;
  for (std::size_t i = 0; i < lines.size(); ++i) seen.push_back(See(i, lines[i], direction));
  std::ranges::stable_sort(seen, {}, &Seen::middle);
  for (auto begin = seen.begin(); begin != seen.end();) {
    auto end = begin + 1;
    while (end != seen.end() && IsOneRow(*(end - 1), *end)) ++end;
    std::stable_sort(begin, end, [](const Seen& a, const Seen& b) { return a.left < b.left; });
    begin = end;
  }
  std::vector<std::size_t> order;
  for (const Seen& line : seen) order.push_back(line.number);
  return order;
}

}  // namespace inferpool::analyze
