#include "shared/base/utf8.h"

#include <algorithm>

namespace inferpool {

std::optional<std::uint32_t> TakeCodePoint(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(0);
  const std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  constexpr std::uint32_t kMin[] = {0, 0, 0x80, 0x800, 0x10000};
  constexpr std::uint32_t kLeadBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  bool good = (first < 0x80 || first >= 0xc2) && first < 0xf5 && text.size() >= length;
  std::uint32_t point = first & kLeadBits[length];
  for (std::size_t i = 1; good && i < length; ++i) {
    good = (byte(i) & 0xc0) == 0x80;
    point = point << 6 | (byte(i) & 0x3f);
  }
  good = good && point >= kMin[length] && point <= 0x10ffff && (point & 0xfffff800) != 0xd800;
  text.remove_prefix(good ? length : 1);
  return good ? std::optional(point) : std::nullopt;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    if (!TakeCodePoint(text).has_value()) return false;
  }
  return true;
}

std::string Utf8Text(std::string_view text, std::size_t max_bytes) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string good;
  while (!text.empty()) {
    const std::string_view before = text;
    const bool whole = TakeCodePoint(text).has_value();
    const std::string_view next =
        whole ? before.substr(0, before.size() - text.size()) : kReplacement;
    if (next.size() > max_bytes - good.size()) break;
    good += next;
  }
  return good;
}

}  // namespace inferpool
