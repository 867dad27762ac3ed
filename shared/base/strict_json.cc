#include "shared/base/strict_json.h"

#include <fmt/format.h>
#include <json/reader.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <sstream>
#include <string>

#include "shared/base/ascii.h"

namespace inferpool {
namespace {

// jsoncpp says "* Line 3, Column 5\n  Missing ',' or '}' in object declaration\n", and so on for
// each; the first one in a line.
std::string FirstReason(const std::string& errors) {
  std::istringstream lines(errors);
  std::string place;
  std::string reason;
  std::getline(lines, place);
  std::getline(lines, reason);
  return fmt::format("{}: {}", place.substr(std::min<std::size_t>(2, place.size())), Trim(reason));
}

// What there is, should it be JSON.
struct Extent {
  std::size_t values = 1;  // at least as many: one more for each comma and each opening bracket
  int depth = 0;           // of objects and arrays
};

// Measures no further than one value above `max_values`.
Extent Measure(std::string_view text, std::size_t max_values) {
  Extent extent;
  int open = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size() && extent.values <= max_values; ++i) {
    if (in_string) {
      i = text.find_first_of("\"\\", i);
      if (i == std::string_view::npos) break;
      if (text[i] == '\\') {
        ++i;
      } else {
        in_string = false;
      }
      continue;
    }
    in_string = text[i] == '"';
    const bool opens = text[i] == '[' || text[i] == '{';
    if (opens) extent.depth = std::max(extent.depth, ++open);
    if (text[i] == ']' || text[i] == '}') --open;
    if (opens || text[i] == ',') ++extent.values;
  }
  return extent;
}

}  // namespace

absl::StatusOr<Json::Value> ReadStrictJson(std::string_view text, int max_depth,
                                           std::size_t max_values) {
  // jsoncpp takes a zero byte for the end and would believe what stands before it.
  if (text.find('\0') != std::string_view::npos) {
    return InvalidArgument("there is a zero byte");
  }
  const Extent extent = Measure(text, max_values);
  if (extent.values > max_values) {
    return InvalidArgument("it has more than {} values", max_values);
  }
  const auto too_deep = [max_depth] {
    return InvalidArgument("it is deeper than {} levels", max_depth);
  };
  // jsoncpp does not count an empty one.
  if (extent.depth > max_depth) return too_deep();
  Json::CharReaderBuilder builder;
  Json::CharReaderBuilder::strictMode(&builder.settings_);
  builder["strictRoot"] = false;  // a plain value is JSON since RFC 7159
  builder["collectComments"] = false;
  builder["skipBom"] = false;
  builder["stackLimit"] = max_depth + 1;
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  Json::Value value;
  std::string errors;
  try {
    if (reader->parse(text.data(), text.data() + text.size(), &value, &errors)) return value;
  } catch (const std::exception&) {  // past its stack limit
    return too_deep();
  }
  return absl::InvalidArgumentError(FirstReason(errors));
}

}  // namespace inferpool
