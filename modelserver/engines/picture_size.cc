#include "modelserver/engines/picture_size.h"

#include <cstddef>
#include <cstdint>
#include <limits>

namespace inferpool::modelserver {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPngStart = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"sv;

absl::Status Damaged(const char* what) {
  return absl::InvalidArgumentError(what);
}

// `bytes` bytes from `at` on, which are there.
std::uint32_t BigEndian(std::string_view text, std::size_t at, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8U | static_cast<unsigned char>(text[at + i]);
  }
  return value;
}

std::uint32_t LittleEndian(std::string_view text, std::size_t at, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) {
    value = value << 8U | static_cast<unsigned char>(text[at + i]);
  }
  return value;
}

absl::StatusOr<cv::Size> Sized(std::uint32_t width, std::uint32_t height) {
  constexpr std::uint32_t kMost = std::numeric_limits<int>::max();
  if (width == 0 || height == 0 || width > kMost || height > kMost) {
    return Damaged("the picture has no pixels, or impossibly many");
  }
  return cv::Size(static_cast<int>(width), static_cast<int>(height));
}

// Walks the segments up to the frame; bytes between them are skipped, as codecs do.
absl::StatusOr<cv::Size> JpegSize(std::string_view picture) {
  for (std::size_t at = 2; (at = picture.find('\xff', at)) != std::string_view::npos;) {
    at = picture.find_first_not_of('\xff', at);
    if (at == std::string_view::npos) {
      break;
    }
    const std::uint32_t marker = BigEndian(picture, at++, 1);
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      continue;  // without a length
    }
    if (marker >= 0xd8 && marker <= 0xda) {
      return Damaged("the JPEG picture has no frame before its data");
    }
    if (picture.size() - at < 2) {
      break;
    }
    const std::size_t length = BigEndian(picture, at, 2);
    if (length < 2 || length > picture.size() - at) {
      break;
    }
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (!frame) {
      at += length;
      continue;
    }
    if (length < 8 || picture.find("\xff\xd9"sv, at + length) == std::string_view::npos) {
      break;
    }
    return Sized(BigEndian(picture, at + 5, 2), BigEndian(picture, at + 3, 2));
  }
  return Damaged("the JPEG picture is damaged or cut off");
}

absl::StatusOr<cv::Size> PngSize(std::string_view picture) {
  if (!picture.starts_with(kPngStart) || picture.size() < kPngStart.size() + 8) {
    return Damaged("the PNG picture is damaged or cut off");
  }
  return Sized(BigEndian(picture, 16, 4), BigEndian(picture, 20, 4));
}

// "RIFF", a length, "WEBP", then the first chunk's type, length and data.
absl::StatusOr<cv::Size> WebpSize(std::string_view picture) {
  const std::string_view type = picture.substr(12, 4);
  if (picture.size() >= 30 && type == "VP8X") {
    return Sized(LittleEndian(picture, 24, 3) + 1, LittleEndian(picture, 27, 3) + 1);
  }
  if (picture.size() >= 30 && type == "VP8 ") {
    return Sized(LittleEndian(picture, 26, 2) & 0x3fffU, LittleEndian(picture, 28, 2) & 0x3fffU);
  }
  if (picture.size() >= 25 && type == "VP8L") {
    const std::uint32_t bits = LittleEndian(picture, 21, 4);
    return Sized((bits & 0x3fffU) + 1, (bits >> 14U & 0x3fffU) + 1);
  }
  return Damaged("the WebP picture is damaged or cut off");
}

}  // namespace

absl::StatusOr<cv::Size> EncodedPictureSize(std::string_view picture) {
  if (picture.starts_with("\xff\xd8"sv)) {
    return JpegSize(picture);
  }
  if (picture.starts_with(kPngStart.substr(0, 4))) {
    return PngSize(picture);
  }
  if (picture.starts_with("RIFF") && picture.size() >= 16 && picture.substr(8, 4) == "WEBP") {
    return WebpSize(picture);
  }
  return Damaged("not a JPEG, PNG or WebP picture");
}

}  // namespace inferpool::modelserver
