// How often a decoder has to go over a JPEG's pixels.
#pragma once

#include <string_view>

namespace inferpool {

// Encoders write some ten scans. Each costs a walk over all pixels, however few bytes it has: 228
// KB can have 500 over 49 million, which is a minute.
inline constexpr int kMostJpegScans = 64;

// The scans in `jpeg`, as a decoder counts them that skips what it does not know (ITU-T T.81, B.1).
int JpegScans(std::string_view jpeg);

}  // namespace inferpool
