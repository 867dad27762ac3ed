// Reads a picture's format and size from its bytes without decoding it, so that limits can be
// checked before memory is spent.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/types.hpp>
#include <string_view>

namespace inferpool::vision {

enum class Format { kJpeg, kPng, kWebp, kGif };

struct Header {
  Format format;
  int width;        // as stored, before `orientation` is applied; at least 1
  int height;       // likewise
  int orientation;  // EXIF's 1..8; 1 when it is absent or absurd
  bool animated_webp = false;
  int jpeg_components = 3;
};

// Parses `bytes`, the whole picture. Decodes no pixels and allocates nothing but error texts.
// Thread safe. The size of an animation is that of its canvas, also where its first frame is
// smaller. A GIF whose first frame reaches beyond its screen is as large as both together, as in
// Pillow.
//
// UNIMPLEMENTED: the format is not JPEG, PNG, WebP or GIF (the text guesses which it is), or is a
//   variant that we do not decode (lossless or 12-bit JPEG).
// DATA_LOSS: the format is one of the four, but the header is damaged, cut off or has no pixels.
absl::StatusOr<Header> ReadHeader(std::string_view bytes);

// Returns the size of the picture as it is meant to be seen: orientations 5..8 swap the sides.
cv::Size UprightSize(const Header& header);

// "JPEG", "PNG", "WebP", "GIF".
std::string_view Name(Format format);

}  // namespace inferpool::vision
