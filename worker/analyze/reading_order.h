// The order in which people read lines of text. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "worker/vision/postprocess.h"

namespace inferpool::analyze {

// The corners of a line, clockwise from its text's own top left.
using LineCorners = std::array<vision::Point, 4>;

// Returns the numbers of `lines` in the order of reading: rows from top to bottom, the lines of a
// row from left to right, as seen in the direction in which most of the text runs (the most by
// length, of lines that are within 20 degrees of each other). Two lines are of one row when they
// share at least half of the taller one's height there. Columns are read across.
std::vector<std::size_t> ReadingOrder(std::span<const LineCorners> lines);

}  // namespace inferpool::analyze
