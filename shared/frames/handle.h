// The text that an entry in Redis has instead of a picture: where in shared memory the frame lies.
// Pure.
//
//   SEGMENT SLOT GENERATION BYTES FORMAT WIDTH HEIGHT STRIDE BOOT
//   inferpool.4711-03f2a9c1d2b3e4f5 7 42 921600 bgr 640 480 1920 0b5c1a9e-...
//
// with one blank between two words, and numbers in decimal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/base/status.h"

namespace inferpool::frames {

enum class Format {
  kJpeg,
  kPng,
  kWebp,
  kRgb,
  kBgr,
  kGrey,
  kNv12,  // a plane of luma, then half as many rows of chroma, U and V in turn
};

// Whether a frame of it is pixels, and no file.
constexpr bool IsRaw(Format format) {
  return format >= Format::kRgb;
}

// "jpeg", "png", "webp", "rgb", "bgr", "grey", "nv12".
std::string_view Name(Format format);

struct Handle {
  std::string segment;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  std::uint64_t bytes = 0;
  Format format = Format::kJpeg;
  int width = 0;  // of raw frames, as the next two; of files 0
  int height = 0;
  std::size_t stride = 0;  // from one row to the next
  std::string boot_id;     // of the machine's start
};

// The longest side of a raw frame.
inline constexpr int kMaxSide = 65'535;

// Whether a segment may have that name: "inferpool." and 1 to 64 letters, digits, '.', '_' and '-'.
bool IsSegmentName(std::string_view name);

// INVALID_ARGUMENT says what is wrong: the form, a name, a number out of its range, or a raw frame
// whose sides, stride and bytes do not belong together. What it gives is safe to use as it is.
absl::StatusOr<Handle> ParseHandle(std::string_view text);

}  // namespace inferpool::frames
