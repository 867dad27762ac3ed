// The ids that a camera's pictures get in its stream. We choose them ourselves, so that Redis
// refuses a picture that is sent once more after a connection broke.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inferpool::feeder {

struct EntryId {
  std::uint64_t ms = 0;  // Unix time
  std::uint64_t number = 0;

  auto operator<=>(const EntryId&) const = default;
  std::string Text() const;  // "1700000000000-0"
  static std::optional<EntryId> Parse(std::string_view text);
};

// Ids that grow, whatever the clock does. For one thread at a time.
class EntryIds {
 public:
  EntryId Next(std::int64_t unix_ms);

  // The stream has had `id`, so all others will be greater.
  void Follow(EntryId id);

 private:
  EntryId latest_;
};

}  // namespace inferpool::feeder
