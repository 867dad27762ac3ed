#include "ops/feeder/entry_ids.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace inferpool::feeder {
namespace {

bool ReadNumber(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  return error == std::errc() && end == text.end();
}

}  // namespace

std::string EntryId::Text() const {
  return fmt::format("{}-{}", ms, number);
}

std::optional<EntryId> EntryId::Parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  EntryId id;
  if (dash == std::string_view::npos || !ReadNumber(text.substr(0, dash), id.ms) ||
      !ReadNumber(text.substr(dash + 1), id.number)) {
    return std::nullopt;
  }
  return id;
}

EntryId EntryIds::Next(std::int64_t unix_ms) {
  const EntryId now{.ms = static_cast<std::uint64_t>(std::max<std::int64_t>(unix_ms, 1))};
  latest_ = now > latest_ ? now : EntryId{.ms = latest_.ms, .number = latest_.number + 1};
  return latest_;
}

void EntryIds::Follow(EntryId id) {
  latest_ = std::max(latest_, id);
}

}  // namespace inferpool::feeder
