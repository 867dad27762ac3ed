// Reads text that may not be UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inferpool {

// Removes the first code point from `text`, which must not be empty, and returns it. Where the text
// is not well formed (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing past
// U+10FFFF), removes one byte and returns nullopt.
std::optional<std::uint32_t> TakeCodePoint(std::string_view& text);

bool IsUtf8(std::string_view text);

// Returns `text` for a field that must be UTF-8: as many whole characters as fit into `max_bytes`
// bytes. Each byte that belongs to no character becomes U+FFFD.
std::string Utf8Text(std::string_view text, std::size_t max_bytes);

}  // namespace inferpool
