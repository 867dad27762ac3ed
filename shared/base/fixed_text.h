// A short text without pointers, so that a value in shared memory can hold it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace inferpool {

// Holds at most N - 1 characters; a longer text is cut. Zeroed memory is an empty text.
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
