// What a picture's bytes say of it before anything is decoded: its format and size, so that limits
// are checked before memory is spent.
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

// Parses `bytes`, the whole picture. Calls no codec, allocates nothing but error texts.
// Thread safe. The size is the whole picture's, also where an animation's first frame, which stands
// for it, is smaller. Where a GIF's first frame stands out of its screen the picture is as large as
// to hold both, as Pillow has it.
//
// UNIMPLEMENTED: not JPEG, PNG, WebP or GIF, with a guess what it is instead; or a variant of these
//   that we do not decode (lossless or 12-bit JPEG).
// DATA_LOSS: one of the four, but the header is damaged, cut off, or has no pixels.
absl::StatusOr<Header> ReadHeader(std::string_view bytes);

// The size of the picture as it is meant to be seen: orientations 5..8 lie on their side.
cv::Size UprightSize(const Header& header);

// "JPEG", "PNG", "WebP", "GIF".
std::string_view Name(Format format);

}  // namespace inferpool::vision
