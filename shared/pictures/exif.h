// EXIF, as far as a picture's orientation goes (Exif 2.32, 4.6.4; TIFF 6.0, section 2).
#pragma once

#include <string_view>

namespace inferpool::vision {

// The orientation, 1..8, that `tiff` (an EXIF block from its "II" or "MM" on) gives for the main
// picture. 1, which is upright, when it gives none, an absurd one, or is damaged.
int ExifOrientation(std::string_view tiff);

}  // namespace inferpool::vision
