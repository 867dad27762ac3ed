// Writes a resized picture into a tensor in one pass.
#pragma once

#include <cstddef>
#include <opencv2/core/mat.hpp>
#include <span>

#include "worker/vision/families/placement.h"

namespace inferpool::vision {

// The grey that Ultralytics pads with, as a byte; it is normalised as the pixels are.
inline constexpr unsigned char kPadding = 114;

// Writes `pixels`, CV_8UC3 BGR of placement.content's size, into `row`: channels reordered, planar
// or interleaved, normalised, of the layout's datatype, with padding around. `row` is as long as
// that takes and aligned for the datatype.
void WriteTensor(const cv::Mat& pixels, const Placement& placement, const InputLayout& layout,
                 std::span<std::byte> row);

}  // namespace inferpool::vision
