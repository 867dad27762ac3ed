// Text that may not be UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inferpool {

// Takes the first code point off `text`, which is not empty; nothing, and one byte is taken, where
// it is not well formed (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing past
// U+10FFFF).
std::optional<std::uint32_t> TakeCodePoint(std::string_view& text);

bool IsUtf8(std::string_view text);

// `text` for a field that must be UTF-8: the whole characters that fit into `most` bytes, each byte
// that is no part of one as U+FFFD.
std::string Utf8Text(std::string_view text, std::size_t most);

}  // namespace inferpool
