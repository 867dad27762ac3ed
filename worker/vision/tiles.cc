#include "worker/vision/tiles.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace inferpool::vision {
namespace {

// The fewest tiles of at most `longest` pixels, each of which shares `overlap` with the next, along
// a side.
int CountAlong(int side, double longest, double overlap) {
  return std::max(1, static_cast<int>(std::ceil((side / longest - overlap) / (1 - overlap))));
}

struct Span {
  int start;
  int length;
};

std::vector<Span> CutSide(int start, int side, int count, double overlap) {
  const int length =
      std::min(side, static_cast<int>(std::ceil(side / (count - (count - 1) * overlap))));
  std::vector<Span> spans;
  for (int i = 0; i < count; ++i) {
    const double at = count == 1 ? 0 : static_cast<double>(i) * (side - length) / (count - 1);
    spans.push_back({start + static_cast<int>(std::lround(at)), length});
  }
  return spans;
}

}  // namespace

TileGrid GridFor(cv::Size part, const InputLayout& layout, double overlap, int most) {
  constexpr double kLarger = 1.25;
  constexpr double kGrowth = 1.02;
  const double width = layout.size.width > 0 ? layout.size.width : layout.max_side;
  const double height = layout.size.height > 0 ? layout.size.height : layout.max_side;
  for (double scale = kLarger;; scale *= kGrowth) {
    const TileGrid grid{CountAlong(part.width, width * scale, overlap),
                        CountAlong(part.height, height * scale, overlap)};
    if (std::int64_t{grid.columns} * grid.rows <= most) {
      return grid;
    }
  }
}

TileGrid Sensible(TileGrid grid, cv::Size part) {
  return {std::clamp(grid.columns, 1, std::max(1, part.width / kMinTileSide)),
          std::clamp(grid.rows, 1, std::max(1, part.height / kMinTileSide))};
}

std::vector<cv::Rect> CutIntoTiles(const cv::Rect& part, TileGrid grid, double overlap) {
  std::vector<cv::Rect> tiles;
  for (const Span& y : CutSide(part.y, part.height, grid.rows, overlap)) {
    for (const Span& x : CutSide(part.x, part.width, grid.columns, overlap)) {
      tiles.emplace_back(x.start, y.start, x.length, y.length);
    }
  }
  return tiles;
}

}  // namespace inferpool::vision
