// Cuts a picture into tiles, so that a model sees things that would be too small in its input.
// Pure.
#pragma once

#include <opencv2/core/types.hpp>
#include <vector>

#include "worker/vision/families/placement.h"

namespace inferpool::vision {

struct TileGrid {
  int columns = 1;
  int rows = 1;

  bool operator==(const TileGrid&) const = default;
};

// A tile has at least so many pixels a side, unless the picture has fewer.
inline constexpr int kMinTileSide = 32;

// Returns the fewest tiles of a part of a picture such that none is more than a quarter wider or
// higher than the model's input (an open side counts as max_side): one pixel of the picture is then
// about one of the input. When these are more than `most`, the tiles grow on both axes alike until
// they are not. Neighbours share `overlap` of a tile. `part` has an area; `most` is at least 1.
TileGrid GridFor(cv::Size part, const InputLayout& layout, double overlap, int most);

// Returns the grid, or one with fewer tiles where they would be smaller than kMinTileSide.
TileGrid Sensible(TileGrid grid, cv::Size part);

// Cuts `part` into tiles of one size that cover it, row by row, in the picture's pixels. Neighbours
// share at least `overlap` of a tile, which is below 1, but for rounding. A single tile is `part`
// itself. `grid` is sensible.
std::vector<cv::Rect> CutIntoTiles(const cv::Rect& part, TileGrid grid, double overlap);

}  // namespace inferpool::vision
