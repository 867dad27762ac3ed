#include "ops/live/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "shared/base/ascii.h"
#include "shared/base/json_text.h"

namespace inferpool::live {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr int kGood = 200;

// nullopt unless the text is a number and nothing else.
template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  if (error != std::errc() || end != text.end()) return std::nullopt;
  return number;
}

// The time as JSON has it.
std::string Time(std::int64_t ms) {
  return ms > 0 ? fmt::format("{}", ms) : "null";
}

}  // namespace

std::string EntryId::ToText() const {
  return fmt::format("{}-{}", ms, number);
}

std::optional<EntryId> ParseEntryId(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto ms = ParseNumber<std::uint64_t>(text.substr(0, dash));
  const auto number = ParseNumber<std::uint64_t>(text.substr(dash + 1));
  if (!ms || !number) return std::nullopt;
  return EntryId{*ms, *number};
}

std::optional<std::string> MembersOf(std::string_view json) {
  json = Trim(json, kBlanks);
  if (json.size() < 2 || json.front() != '{' || json.back() != '}') return std::nullopt;
  std::string members(Trim(json.substr(1, json.size() - 2), kBlanks));
  // Between values a line break is a blank; in a text of JSON there is none.
  std::ranges::replace_if(
      members, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return members;
}

bool HasFindings(std::string_view json) {
  // In a text of JSON the quotes have a backslash before them, so no name of a class looks like
  // this.
  for (const std::string_view name :
       {"\"detections\"", "\"classes\"", "\"texts\"", "\"embedding\""}) {
    for (std::size_t at = json.find(name); at != std::string_view::npos;
         at = json.find(name, at + 1)) {
      std::string_view rest = Trim(json.substr(at + name.size()), kBlanks);
      if (!rest.starts_with(':')) continue;
      rest = Trim(rest.substr(1), kBlanks);
      if (!rest.starts_with('[')) continue;
      rest = Trim(rest.substr(1), kBlanks);
      if (!rest.empty() && rest.front() != ']') return true;
    }
  }
  return false;
}

std::optional<Answer> ParseAnswer(EntryId id, std::span<const EntryField> fields) {
  const auto field = [&](std::string_view name) -> std::string_view {
    const auto found = std::ranges::find(fields, name, &EntryField::first);
    return found == fields.end() ? std::string_view() : found->second;
  };
  const auto time = [&](std::string_view name) {
    return std::max<std::int64_t>(0, ParseNumber<std::int64_t>(field(name)).value_or(0));
  };
  Answer answer{.id = id, .camera = std::string(field("camera"))};
  if (answer.camera.empty()) return std::nullopt;
  const std::string_view json = field("json");
  const std::optional<std::string> members = MembersOf(json);
  answer.status = ParseNumber<int>(field("status")).value_or(0);
  answer.captured_ms = time("captured");
  answer.answered_ms = time("answered");
  const bool good = answer.status == kGood && members;
  answer.has_findings = good && HasFindings(json);
  const auto seq = ParseNumber<std::int64_t>(field("seq"));
  answer.json = fmt::format(
      R"({{"camera":{},"frame":{{"id":{},"seq":{}}},"status":{},"times":{{"captured":{},"read":{},"answered":{}}})",
      QuotedJson(answer.camera), QuotedJson(field("frame")), seq ? fmt::format("{}", *seq) : "null",
      answer.status, Time(answer.captured_ms), Time(time("read")), Time(answer.answered_ms));
  if (!good) {
    answer.json += fmt::format(R"(,"problem":{})", members ? "{" + *members + "}" : "null");
  } else if (!members->empty()) {
    answer.json += "," + *members;
  }
  answer.json += "}";
  return answer;
}

}  // namespace inferpool::live
