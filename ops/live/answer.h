// One answer about a camera's frame, as it stands in its shard's stream of results. Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace inferpool::live {

// The id of an entry of a stream: "1700000000000-3". Those of a stream only grow.
struct EntryId {
  std::uint64_t ms = 0;
  std::uint64_t number = 0;

  auto operator<=>(const EntryId&) const = default;  // NOLINT(modernize-use-nullptr): has none
  std::string ToText() const;
};

// Reads two numbers with '-' between them, and nothing else.
std::optional<EntryId> ParseEntryId(std::string_view text);

// All times are Unix milliseconds; 0: unknown.
struct Answer {
  EntryId id = {};  // of the entry in the stream of results
  std::string camera = {};
  int status = 0;  // as of an answer to /v1/predict
  std::int64_t captured_ms = 0;
  std::int64_t answered_ms = 0;
  bool has_findings = false;
  // As the API gives it: one line, an object.
  std::string json = {};
};

// The members of an object in JSON, without its braces, on one line; nullopt when the text does not
// look like an object.
std::optional<std::string> MembersOf(std::string_view json);

// Whether an answer in JSON has a detection, a class, a text or an embedding.
bool HasFindings(std::string_view json);

using EntryField = std::pair<std::string_view, std::string_view>;

// nullopt for an entry that names no camera.
std::optional<Answer> ParseAnswer(EntryId id, std::span<const EntryField> fields);

}  // namespace inferpool::live
