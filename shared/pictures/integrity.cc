#include "shared/pictures/integrity.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "shared/base/status.h"
#include "shared/pictures/bytes.h"
#include "shared/pictures/gif_blocks.h"
#include "shared/pictures/jpeg_scans.h"

namespace inferpool::vision {
namespace {

absl::Status CutOff(Format format) {
  return absl::DataLossError(fmt::format("the {} picture is cut off", Name(format)));
}

// The highest number of pixels that one byte can stand for.
// JPEG: a Huffman code has at least one bit, and the first scan has one for each block of 64
//   pixels. Arithmetic coding, which hardly anybody writes, gets below a bit, but only for pictures
//   of next to one colour; such are turned down as well.
// PNG: deflate yields at most 1032 bytes from one (zlib's technical notes), of 8 pixels each at
//   1 bit a pixel.
// WebP: a lossless picture of one colour takes no bits at all, so nothing can be said.
// GIF: neither, since a frame may be smaller than the picture.
std::optional<std::uint64_t> MaxPixelsPerByte(Format format) {
  switch (format) {
    case Format::kJpeg:
      return 8 * 64;
    case Format::kPng:
      return 1032 * 8;
    case Format::kWebp:
    case Format::kGif:
      return std::nullopt;
  }
  return std::nullopt;
}

absl::Status CheckJpegScans(std::string_view bytes) {
  const int scans = JpegScans(bytes);
  if (scans <= kMaxJpegScans) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      fmt::format("the JPEG picture has {} scans, allowed are {}", scans, kMaxJpegScans));
}

// Browsers show no WebP that is shorter than it says, wherever it ends.
absl::Status CheckRiffLength(std::string_view bytes) {
  constexpr std::size_t kBeforeLength = 8;
  const bool whole =
      bytes.size() >= kBeforeLength && LittleEndian32(bytes, 4) <= bytes.size() - kBeforeLength;
  return whole ? absl::OkStatus() : CutOff(Format::kWebp);
}

absl::Status CheckGifFrame(std::string_view bytes) {
  GifBlocks blocks(bytes);
  while (const std::optional<GifBlock> block = blocks.Next()) {
    if (block->kind == ',') {
      return absl::OkStatus();
    }
  }
  return CutOff(Format::kGif);
}

}  // namespace

absl::Status CheckIntegrity(std::string_view bytes, const Header& header) {
  const std::uint64_t pixels =
      static_cast<std::uint64_t>(header.width) * static_cast<std::uint64_t>(header.height);
  const std::optional<std::uint64_t> max = MaxPixelsPerByte(header.format);
  if (max && pixels / *max > bytes.size()) {
    return absl::DataLossError(fmt::format("{} bytes are too few for a {} picture of {} x {}",
                                           bytes.size(), Name(header.format), header.width,
                                           header.height));
  }
  switch (header.format) {
    case Format::kJpeg:
      return CheckJpegScans(bytes);
    case Format::kPng:
      return absl::OkStatus();
    case Format::kWebp:
      return CheckRiffLength(bytes);
    case Format::kGif:
      return CheckGifFrame(bytes);
  }
  return absl::OkStatus();
}

}  // namespace inferpool::vision
