// A short text inside a value that is copied byte by byte, as shared memory needs it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace inferpool {

// At most N - 1 characters; a longer text is cut. Zero bytes are an empty text.
template <std::size_t N>
struct FixedText {
  std::array<char, N> characters{};

  FixedText() = default;
  explicit FixedText(std::string_view text) {
    std::copy_n(text.begin(), std::min(text.size(), N - 1), characters.begin());
  }

  std::string_view view() const {
    const auto end = std::ranges::find(characters, '\0');
    return {characters.data(), static_cast<std::size_t>(end - characters.begin())};
  }

  bool operator==(const FixedText&) const = default;
};

}  // namespace inferpool
