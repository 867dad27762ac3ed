#include "shared/base/json_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

#include "shared/base/utf8.h"

namespace inferpool {
namespace {

constexpr std::uint32_t kReplacement = 0xfffd;

}  // namespace

std::string QuotedJson(std::string_view text) {
  std::string quoted = "\"";
  const auto out = std::back_inserter(quoted);
  while (!text.empty()) {
    const std::uint32_t point = TakeCodePoint(text).value_or(kReplacement);
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
