// EXIF, as far as a picture's orientation goes (Exif 2.32, 4.6.4; TIFF 6.0, section 2).
#pragma once

#include <string_view>

namespace inferpool::vision {

// Returns the main picture's orientation, 1..8, from `tiff`, an EXIF block from its "II" or "MM"
// on: the first possible one, as in browsers. Returns 1, which is upright, when the block has none
// or is damaged.
int ExifOrientation(std::string_view tiff);

}  // namespace inferpool::vision
