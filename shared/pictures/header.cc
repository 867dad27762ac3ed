#include "shared/pictures/header.h"

#include <fmt/format.h>
#include <webp/decode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "shared/base/status.h"
#include "shared/pictures/bytes.h"
#include "shared/pictures/chunks.h"
#include "shared/pictures/exif.h"
#include "shared/pictures/gif_blocks.h"
#include "shared/pictures/jpeg_segments.h"
#include "shared/pictures/sniff.h"

namespace inferpool::vision {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kJpegSignature = "\xff\xd8"sv;
constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n"sv;

absl::Status Damaged(Format format, std::string_view what) {
  return absl::DataLossError(fmt::format("damaged {} header: {}", Name(format), what));
}

absl::Status CutOff(Format format) {
  return absl::DataLossError(fmt::format("the {} picture ends within its header", Name(format)));
}

absl::StatusOr<Header> Sized(Format format, std::uint32_t width, std::uint32_t height,
                             int orientation) {
  constexpr std::uint32_t kMax = std::numeric_limits<int>::max();
  if (width == 0 || height == 0) {
    return Damaged(format, "no pixels");
  }
  if (width > kMax || height > kMax) {
    return Damaged(format, "impossible size");
  }
  return Header{format, static_cast<int>(width), static_cast<int>(height), orientation};
}

// ITU-T T.81, table B.1: the markers that start a frame.
bool IsFrame(std::uint32_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

// Baseline, extended and progressive; Huffman or arithmetic coded. Not lossless or hierarchical.
bool IsDecodableFrame(std::uint32_t marker) {
  return marker <= 0xc2 || marker == 0xc9 || marker == 0xca;
}

absl::StatusOr<Header> ReadFrame(std::uint32_t marker, std::string_view frame) {
  if (frame.size() < 6) {
    return Damaged(Format::kJpeg, "short frame");
  }
  const std::uint32_t bits = Byte(frame, 0);
  if (!IsDecodableFrame(marker)) {
    return absl::UnimplementedError(fmt::format(
        "lossless and hierarchical JPEG pictures are not supported (SOF{})", marker - 0xc0));
  }
  if (bits != 8) {
    return absl::UnimplementedError(
        fmt::format("JPEG pictures of {} bits a sample are not supported", bits));
  }
  auto header = Sized(Format::kJpeg, BigEndian16(frame, 3), BigEndian16(frame, 1), 1);
  if (header.ok()) header->jpeg_components = static_cast<int>(Byte(frame, 5));
  return header;
}

bool EndsJpegHeader(std::uint32_t marker) {
  return marker == JpegSegment::kStartOfImage || marker == JpegSegment::kEndOfImage ||
         marker == JpegSegment::kStartOfScan;
}

// The EXIF block behind its name and a byte of padding, which some writers do not leave zero;
// nothing when the name is another one, or no block follows.
std::optional<std::string_view> WithoutExifName(std::string_view data) {
  constexpr std::string_view kName = "Exif\0"sv;
  constexpr std::size_t kBlock = kName.size() + 1;
  if (!data.starts_with(kName) || data.size() <= kBlock) return std::nullopt;
  return data.substr(kBlock);
}

// Of several EXIF blocks the first that is not empty counts, before the frame or behind it.
absl::StatusOr<Header> ReadJpeg(std::string_view bytes) {
  std::optional<int> orientation;
  std::optional<Header> header;
  JpegSegments segments(bytes);
  while (true) {
    const std::optional<JpegSegment> segment = segments.Next();
    // A segment that is shorter than its own length has no data, and is passed over.
    const bool cut_off = !segment || segment->state == JpegSegment::State::kCutOff;
    const bool ends = segment && EndsJpegHeader(segment->marker);
    if ((cut_off || ends) && header) {
      header->orientation = orientation.value_or(1);
      return *header;
    }
    if (ends) {
      return Damaged(Format::kJpeg, "no frame before the picture's data");
    }
    if (cut_off) {
      return CutOff(Format::kJpeg);
    }
    const std::optional<std::string_view> exif = WithoutExifName(segment->data);
    if (segment->marker == JpegSegment::kApp1 && !orientation && exif) {
      orientation = ExifOrientation(*exif);
    } else if (IsFrame(segment->marker) && !header) {
      ASSIGN_OR_RETURN(header, ReadFrame(segment->marker, segment->data));
    }
  }
}

absl::StatusOr<Header> ReadPng(std::string_view bytes) {
  if (!bytes.starts_with(kPngSignature)) {
    return kPngSignature.starts_with(bytes) ? CutOff(Format::kPng)
                                            : Damaged(Format::kPng, "bad signature");
  }
  Chunks chunks = Chunks::OfPng(bytes);
  const std::optional<Chunk> ihdr = chunks.Next();
  if (!ihdr) {
    return CutOff(Format::kPng);
  }
  if (ihdr->type != "IHDR" || ihdr->data.size() != 13) {
    return Damaged(Format::kPng, "no IHDR");
  }
  int orientation = 1;
  while (const std::optional<Chunk> chunk = chunks.Next()) {
    if (chunk->type == "IDAT") {
      break;
    }
    if (chunk->type == "eXIf" && chunk->HasRightChecksum()) {
      orientation = ExifOrientation(chunk->data);
      break;
    }
  }
  return Sized(Format::kPng, BigEndian32(ihdr->data, 0), BigEndian32(ihdr->data, 4), orientation);
}

// RFC 9649, 2.7: the flags of an extended file, which must come first, say whether there is EXIF.
int WebpOrientation(std::string_view bytes) {
  constexpr std::uint32_t kExif = 0x08;
  constexpr std::size_t kBeforeLength = 8;
  // What stands behind the container is no part of it.
  bytes = bytes.substr(0, kBeforeLength + LittleEndian32(bytes, 4));
  Chunks chunks = Chunks::OfWebp(bytes);
  std::optional<Chunk> chunk = chunks.Next();
  if (!chunk || chunk->type != "VP8X" || chunk->data.empty() ||
      (Byte(chunk->data, 0) & kExif) == 0) {
    return 1;
  }
  while ((chunk = chunks.Next())) {
    if (chunk->type == "EXIF") {
      // The specification has the bare TIFF block; several writers keep JPEG's prefix.
      return ExifOrientation(WithoutExifName(chunk->data).value_or(chunk->data));
    }
  }
  return 1;
}

absl::StatusOr<Header> ReadWebp(std::string_view bytes) {
  WebPBitstreamFeatures features{};
  switch (WebPGetFeatures(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(),
                          &features)) {
    case VP8_STATUS_OK:
      break;
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return CutOff(Format::kWebp);
    default:
      return Damaged(Format::kWebp, "libwebp does not know it");
  }
  absl::StatusOr<Header> header =
      Sized(Format::kWebp, static_cast<std::uint32_t>(features.width),
            static_cast<std::uint32_t>(features.height), WebpOrientation(bytes));
  if (header.ok()) {
    header->animated_webp = features.has_animation != 0;
  }
  return header;
}

// GIF89a, 17, 18 and 20.
absl::StatusOr<Header> ReadGif(std::string_view bytes) {
  constexpr std::size_t kVersionEnd = 6;
  if (bytes.size() < kVersionEnd) {
    return CutOff(Format::kGif);
  }
  const std::string_view version = bytes.substr(3, 3);
  if (version != "87a" && version != "89a") {
    return Damaged(Format::kGif, "bad version");
  }
  GifBlocks blocks(bytes);
  std::optional<GifBlock> block = blocks.Next();
  while (block && block->kind == '!') {
    block = blocks.Next();
  }
  if (!block) {
    return absl::DataLossError("the GIF picture is damaged or ends within its first frame");
  }
  if (block->kind != ',') {
    return Damaged(Format::kGif, "no frame");
  }
  const std::string_view frame = block->data;
  const std::uint32_t width = LittleEndian16(frame, 4);
  const std::uint32_t height = LittleEndian16(frame, 6);
  if (width == 0 || height == 0) {
    return Damaged(Format::kGif, "no pixels");
  }
  return Sized(Format::kGif, std::max(LittleEndian16(bytes, 6), LittleEndian16(frame, 0) + width),
               std::max(LittleEndian16(bytes, 8), LittleEndian16(frame, 2) + height), 1);
}

}  // namespace

absl::StatusOr<Header> ReadHeader(std::string_view bytes) {
  if (bytes.starts_with(kJpegSignature)) {
    return ReadJpeg(bytes);
  }
  if (bytes.starts_with(kPngSignature.substr(0, 4))) {
    return ReadPng(bytes);
  }
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return ReadWebp(bytes);
  }
  if (bytes.starts_with("GIF8")) {
    return ReadGif(bytes);
  }
  const std::string_view guess = GuessForeignFormat(bytes);
  return absl::UnimplementedError(
      guess.empty()
          ? "not a JPEG, PNG, WebP or GIF picture"
          : fmt::format("not a JPEG, PNG, WebP or GIF picture; it looks like: {}", guess));
}

cv::Size UprightSize(const Header& header) {
  return header.orientation >= 5 ? cv::Size(header.height, header.width)
                                 : cv::Size(header.width, header.height);
}

std::string_view Name(Format format) {
  switch (format) {
    case Format::kJpeg:
      return "JPEG";
    case Format::kPng:
      return "PNG";
    case Format::kWebp:
      return "WebP";
    case Format::kGif:
      return "GIF";
  }
  return "unknown";
}

}  // namespace inferpool::vision
