// The number of a JPEG's scans: how often a decoder passes over its pixels.
#pragma once

#include <string_view>

namespace inferpool {

// Encoders write some ten scans. Each scan costs a pass over all pixels, however few bytes it has:
// a file of 228 KB can have 500 scans over 49 million pixels, which take a minute.
inline constexpr int kMaxJpegScans = 64;

// Counts the scans in `jpeg`, up to the end of the image or of the bytes.
int JpegScans(std::string_view jpeg);

}  // namespace inferpool
