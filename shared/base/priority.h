// The priority that a client asks for.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace inferpool {

enum class Priority { kHigh, kNormal, kLow };

inline constexpr std::array<std::string_view, 3> kPriorityNames = {"high", "normal", "low"};

constexpr std::string_view Name(Priority priority) {
  return kPriorityNames[static_cast<std::size_t>(priority)];
}

constexpr std::optional<Priority> ParsePriority(std::string_view word) {
  const auto found = std::ranges::find(kPriorityNames, word);
  if (found == kPriorityNames.end()) return std::nullopt;
  return static_cast<Priority>(found - kPriorityNames.begin());
}

// The less urgent of the two.
constexpr Priority Cap(Priority asked, Priority most_urgent) {
  return std::max(asked, most_urgent);
}

}  // namespace inferpool
