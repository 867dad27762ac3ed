#include "shared/frames/handle.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <iterator>
#include <optional>

#include "shared/frames/inferpool_frames.h"

namespace inferpool::frames {
namespace {

constexpr std::array<std::string_view, 7> kNames = {"jpeg", "png",  "webp", "rgb",
                                                    "bgr",  "grey", "nv12"};
constexpr std::size_t kWords = 9;
constexpr std::size_t kMaxName = 64;
constexpr std::size_t kBootId = 36;

// A decimal number without a sign and without zeros before it.
template <std::unsigned_integral Number>
std::optional<Number> ToNumber(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  if (error != std::errc() || end != text.end()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return number;
}

bool IsBootId(std::string_view text) {
  return text.size() == kBootId && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
         });
}

// What a raw frame is made of.
absl::Status CheckPixels(const Handle& handle) {
  const auto width = static_cast<std::size_t>(handle.width);
  const auto height = static_cast<std::size_t>(handle.height);
  const bool is_colour = handle.format == Format::kRgb || handle.format == Format::kBgr;
  const std::size_t row = is_colour ? 3 * width : width;
  const std::size_t rows = handle.format == Format::kNv12 ? height + height / 2 : height;
  if (width == 0 || height == 0) return InvalidArgument("the handle's frame has no pixels");
  if (handle.format == Format::kNv12 && (width % 2 != 0 || height % 2 != 0)) {
    return InvalidArgument("the sides of an nv12 frame are even");
  }
  if (handle.stride < row || handle.stride > 16 * row + 4096) {
    return InvalidArgument("rows of {} bytes cannot be {} bytes apart", row, handle.stride);
  }
  // The last row need not be as long as the others.
  if (handle.bytes < handle.stride * (rows - 1) + row) {
    return InvalidArgument("a {} frame of {} x {} pixels has more than {} bytes",
                           Name(handle.format), width, height, handle.bytes);
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view Name(Format format) {
  return kNames[static_cast<std::size_t>(format)];
}

bool IsSegmentName(std::string_view name) {
  constexpr std::string_view kPrefix = INFERPOOL_FRAMES_PREFIX;
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  return !name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

absl::StatusOr<Handle> ParseHandle(std::string_view text) {
  std::array<std::string_view, kWords> words;
  for (std::size_t i = 0; i < kWords; ++i) {
    const std::size_t blank = text.find(' ');
    if ((blank == std::string_view::npos) != (i + 1 == kWords)) {
      return InvalidArgument("a handle has {} words", kWords);
    }
    words[i] = text.substr(0, blank);
    text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
  }
  if (!IsSegmentName(words[0])) return InvalidArgument("no segment has a name as the handle's");
  const auto slot = ToNumber<std::uint32_t>(words[1]);
  const auto generation = ToNumber<std::uint64_t>(words[2]);
  const auto bytes = ToNumber<std::uint64_t>(words[3]);
  const auto* const format = std::ranges::find(kNames, words[4]);
  const auto width = ToNumber<std::uint16_t>(words[5]);
  const auto height = ToNumber<std::uint16_t>(words[6]);
  const auto stride = ToNumber<std::uint32_t>(words[7]);
  if (!slot || *slot >= INFERPOOL_FRAMES_MAX_SLOTS || !generation || !bytes || *bytes == 0 ||
      !width || !height || !stride) {
    return InvalidArgument("a number of the handle is none, or out of its range");
  }
  if (*generation == 0 || *generation % 2 != 0) {
    return InvalidArgument("a frame's generation is even");
  }
  if (format == kNames.end()) {
    return InvalidArgument("the handle's format is none of jpeg, png, webp, rgb, bgr, grey, nv12");
  }
  if (!IsBootId(words[8])) return InvalidArgument("the handle's boot id is none");
  Handle handle{.segment = std::string(words[0]),
                .slot = *slot,
                .generation = *generation,
                .bytes = *bytes,
                .format = static_cast<Format>(format - kNames.begin()),
                .width = *width,
                .height = *height,
                .stride = *stride,
                .boot_id = std::string(words[8])};
  if (IsRaw(handle.format)) RETURN_IF_ERROR(CheckPixels(handle));
  return handle;
}

}  // namespace inferpool::frames
