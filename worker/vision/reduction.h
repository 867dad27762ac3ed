// How much smaller than itself a picture may be decoded: a JPEG far larger than the model's input
// costs less when its inverse transform leaves out what the input has no room for, and it comes out
// with less aliasing than one that is shrunk afterwards.
#pragma once

#include <opencv2/core/types.hpp>

#include "shared/pictures/header.h"
#include "worker/vision/placement.h"

namespace inferpool::vision {

// `placement` (of the whole picture) with the largest `reduction` of 1, 2, 4 and 8 with which the
// pixels that WriteInput takes are still as many as placement.content has, on both axes; 1 for
// other formats than JPEG. The other scales that libjpeg-turbo has are slower than the next larger
// one of these, which have SIMD code.
//
// `source` then covers whole decoded pixels, so that boxes find their way back exactly; it may
// differ from what it was, and stand out of the picture, by less than `reduction`.
Placement Reduce(const Header& header, const Placement& placement);

}  // namespace inferpool::vision
