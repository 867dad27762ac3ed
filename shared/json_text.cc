#include "shared/json_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

namespace inferpool {
namespace {

constexpr std::uint32_t kReplacement = 0xfffd;

// Takes the first code point of `text`, which is not empty; one byte where it is not well formed
// (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF).
std::uint32_t TakeCodePoint(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(0);
  const std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  constexpr std::uint32_t kLeadBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  bool good = (first < 0x80 || first >= 0xc2) && first < 0xf5 && text.size() >= length;
  std::uint32_t point = first & kLeadBits[length];
  for (std::size_t i = 1; good && i < length; ++i) {
    good = (byte(i) & 0xc0) == 0x80;
    point = point << 6 | (byte(i) & 0x3f);
  }
  good = good && point >= kLeast[length] && point <= 0x10ffff && (point & 0xfffff800) != 0xd800;
  text.remove_prefix(good ? length : 1);
  return good ? point : kReplacement;
}

}  // namespace

std::string QuotedJson(std::string_view text) {
  std::string quoted = "\"";
  const auto out = std::back_inserter(quoted);
  while (!text.empty()) {
    const std::uint32_t point = TakeCodePoint(text);
    if (point == '"' || point == '\\') {
      fmt::format_to(out, "\\{}", static_cast<char>(point));
    } else if (point >= 0x20 && point < 0x7f) {
      quoted += static_cast<char>(point);
    } else if (point < 0x10000) {
      fmt::format_to(out, "\\u{:04x}", point);
    } else {
      fmt::format_to(out, "\\u{:04x}\\u{:04x}", 0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
    }
  }
  return quoted + '"';
}

}  // namespace inferpool
