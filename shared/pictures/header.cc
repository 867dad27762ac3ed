#include "shared/pictures/header.h"

#include <fmt/format.h>

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
  constexpr std::uint32_t kMost = std::numeric_limits<int>::max();
  if (width == 0 || height == 0) {
    return Damaged(format, "no pixels");
  }
  if (width > kMost || height > kMost) {
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

bool HasNoLength(std::uint32_t marker) {
  return marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd7);
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

struct JpegSegment {
  std::uint32_t marker;
  std::string_view data;
};

bool EndsJpegHeader(std::uint32_t marker) {
  return marker >= 0xd8 && marker <= 0xda;
}

// The next marker segment (ITU-T T.81, B.1) from `at` on, which moves behind it. Bytes between
// segments are skipped, as libjpeg does.
absl::StatusOr<JpegSegment> NextSegment(std::string_view bytes, std::size_t& at) {
  while (true) {
    at = bytes.find('\xff', at);
    if (at != std::string_view::npos) {
      at = bytes.find_first_not_of('\xff', at);
    }
    if (at == std::string_view::npos) {
      return CutOff(Format::kJpeg);
    }
    const std::uint32_t marker = Byte(bytes, at++);
    if (HasNoLength(marker)) {
      continue;
    }
    if (EndsJpegHeader(marker)) {
      return JpegSegment{marker, {}};
    }
    if (bytes.size() - at < 2) {
      return CutOff(Format::kJpeg);
    }
    const std::size_t length = BigEndian16(bytes, at);
    if (length < 2) {
      return Damaged(Format::kJpeg, "impossible segment length");
    }
    if (length > bytes.size() - at) {
      return CutOff(Format::kJpeg);
    }
    const JpegSegment segment{marker, bytes.substr(at + 2, length - 2)};
    at += length;
    return segment;
  }
}

// Of several EXIF blocks the first that is not empty counts, before the frame or behind it.
absl::StatusOr<Header> ReadJpeg(std::string_view bytes) {
  std::optional<int> orientation;
  std::optional<Header> header;
  std::size_t at = kJpegSignature.size();
  while (true) {
    const absl::StatusOr<JpegSegment> segment = NextSegment(bytes, at);
    const bool ends = !segment.ok() || EndsJpegHeader(segment->marker);
    if (ends && header) {
      header->orientation = orientation.value_or(1);
      return *header;
    }
    if (!segment.ok()) {
      return segment.status();
    }
    if (ends) {
      return Damaged(Format::kJpeg, "no frame before the picture's data");
    }
    // Some writers have another byte than zero for the padding behind the name.
    constexpr std::string_view kExif = "Exif\0"sv;
    constexpr std::size_t kBlock = kExif.size() + 1;
    if (segment->marker == 0xe1 && !orientation && segment->data.starts_with(kExif) &&
        segment->data.size() > kBlock) {
      orientation = ExifOrientation(segment->data.substr(kBlock));
    } else if (IsFrame(segment->marker) && !header) {
      const absl::StatusOr<Header> frame = ReadFrame(segment->marker, segment->data);
      if (!frame.ok()) {
        return frame.status();
      }
      header = *frame;
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

// RFC 6386, 9.1: three bytes of frame tag, the start code, two 14-bit sizes.
absl::StatusOr<Header> ReadVp8(std::string_view data) {
  if (data.size() < 10) {
    return CutOff(Format::kWebp);
  }
  const bool key_frame = (Byte(data, 0) & 1) == 0;
  if (!key_frame || data.substr(3, 3) != "\x9d\x01\x2a"sv) {
    return Damaged(Format::kWebp, "no key frame");
  }
  return Sized(Format::kWebp, LittleEndian16(data, 6) & 0x3fff, LittleEndian16(data, 8) & 0x3fff,
               1);
}

// RFC 9649, 3.4: a signature byte, then width - 1 and height - 1 in 14 bits each.
absl::StatusOr<Header> ReadVp8Lossless(std::string_view data) {
  if (data.size() < 5) {
    return CutOff(Format::kWebp);
  }
  if (data[0] != '\x2f') {
    return Damaged(Format::kWebp, "bad lossless signature");
  }
  const std::uint32_t bits = LittleEndian32(data, 1);
  return Sized(Format::kWebp, (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1, 1);
}

// RFC 9649, 2.7: flags, then width - 1 and height - 1 of the canvas in 24 bits each.
absl::StatusOr<Header> ReadVp8Extended(std::string_view data, Chunks rest) {
  constexpr std::uint32_t kAnimation = 0x02;
  constexpr std::uint32_t kExif = 0x08;
  if (data.size() < 10) {
    return CutOff(Format::kWebp);
  }
  const std::uint32_t flags = Byte(data, 0);
  int orientation = 1;
  while ((flags & kExif) != 0) {
    const std::optional<Chunk> chunk = rest.Next();
    if (!chunk) {
      break;
    }
    if (chunk->type == "EXIF") {
      // The specification has the bare TIFF block; several writers keep JPEG's prefix.
      const bool prefixed = chunk->data.starts_with("Exif\0\0"sv);
      orientation = ExifOrientation(chunk->data.substr(prefixed ? 6 : 0));
      break;
    }
  }
  absl::StatusOr<Header> header =
      Sized(Format::kWebp, LittleEndian24(data, 4) + 1, LittleEndian24(data, 7) + 1, orientation);
  if (header.ok()) {
    header->animated_webp = (flags & kAnimation) != 0;
  }
  return header;
}

absl::StatusOr<Header> ReadWebp(std::string_view bytes) {
  // The first chunk may be cut off behind the few bytes that matter here.
  if (bytes.size() < 20) {
    return CutOff(Format::kWebp);
  }
  const std::string_view type = bytes.substr(12, 4);
  const std::string_view data = bytes.substr(20, LittleEndian32(bytes, 16));
  if (type == "VP8 ") {
    return ReadVp8(data);
  }
  if (type == "VP8L") {
    return ReadVp8Lossless(data);
  }
  if (type == "VP8X") {
    Chunks chunks = Chunks::OfWebp(bytes);
    chunks.Next();
    return ReadVp8Extended(data, chunks);
  }
  return Damaged(Format::kWebp, "unknown first chunk");
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
