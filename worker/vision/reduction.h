// Chooses the scale at which a picture is decoded. A JPEG that is far larger than the model's input
// costs less when its inverse transform leaves out the detail for which the input has no pixels,
// and it shows less aliasing than a picture that is shrunk afterwards.
#pragma once

#include <opencv2/core/types.hpp>

#include "shared/pictures/header.h"
#include "worker/vision/families/placement.h"

namespace inferpool::vision {

// Returns the largest reduction of 1, 2, 4 and 8 that leaves at least as many decoded pixels as
// placement.content has, on both axes; 1 for formats other than JPEG. libjpeg-turbo has other
// scales too, but without SIMD code they are slower than the next larger one of these.
int LargestReduction(const Header& header, const Placement& placement);

// Returns `placement`, which is unreduced, for a picture that is decoded with `reduction`: 1, 2, 4
// or 8, and 1 for formats other than JPEG. Several placements may so share one decoded picture.
//
// `source` then covers whole decoded pixels, so that boxes map back exactly. It may differ from the
// original, and reach beyond the picture, by less than `reduction`.
Placement AtReduction(const Header& header, const Placement& placement, int reduction);

// The same, with the placement's own largest reduction.
Placement Reduce(const Header& header, const Placement& placement);

}  // namespace inferpool::vision
