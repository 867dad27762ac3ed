#include "shared/pictures/exif.h"

#include <cstddef>
#include <cstdint>

#include "shared/pictures/bytes.h"

namespace inferpool::vision {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;
constexpr int kUpright = 1;

}  // namespace

int ExifOrientation(std::string_view tiff) {
  using namespace std::string_view_literals;
  const bool little = tiff.starts_with("II*\0"sv);
  if (tiff.size() < 8 || (!little && !tiff.starts_with("MM\0*"sv))) {
    return kUpright;
  }
  const auto read16 = little ? LittleEndian16 : BigEndian16;
  const auto read32 = little ? LittleEndian32 : BigEndian32;

  const std::size_t directory = read32(tiff, 4);
  if (directory > tiff.size() || tiff.size() - directory < 2) {
    return kUpright;
  }
  const std::string_view entries = tiff.substr(directory + 2);
  const std::uint32_t count = read16(tiff, directory);
  constexpr std::size_t kEntryBytes = 12;
  for (std::size_t i = 0; i < count && (i + 1) * kEntryBytes <= entries.size(); ++i) {
    const std::string_view entry = entries.substr(i * kEntryBytes, kEntryBytes);
    if (read16(entry, 0) != kOrientationTag) {
      continue;
    }
    const std::uint32_t value = read16(entry, 8);
    const bool sane = read16(entry, 2) == kShort && read32(entry, 4) == 1 && value - 1 < 8;
    if (sane) return static_cast<int>(value);
  }
  return kUpright;
}

}  // namespace inferpool::vision
