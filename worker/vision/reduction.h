// How much smaller than itself a picture may be decoded: a JPEG far larger than the model's input
// costs less when its inverse transform leaves out what the input has no room for, and it comes out
// with less aliasing than one that is shrunk afterwards.
#pragma once

#include <opencv2/core/types.hpp>

#include "worker/vision/header.h"
#include "worker/vision/placement.h"

namespace inferpool::vision {

// 1, 2, 4 or 8: how many times smaller on each axis the picture can be decoded while
// placement.source still has at least the pixels of placement.content on both. The other scales
// that libjpeg-turbo has are slower than the next larger of these, which have SIMD code; 1 for
// other formats than JPEG. `placement` is that of the whole picture, upright.
int Reduction(const Header& header, const Placement& placement);

// What Decode makes of `size`: rounded to whole pixels, and at least one on each axis.
cv::Size Reduced(cv::Size size, int reduction);

}  // namespace inferpool::vision
