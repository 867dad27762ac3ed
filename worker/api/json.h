// Pieces of JSON text. Answers are written in one pass and in their documented order, which
// jsoncpp's Value (a sorted map) would lose; the quoting is jsoncpp's.
#pragma once

#include <json/json.h>

#include <string>
#include <string_view>

namespace inferpool::api {

// `text` as a JSON string, quotes included; bytes that are no UTF-8 are replaced.
inline std::string Quoted(std::string_view text) {
  return Json::valueToQuotedString(std::string(text).c_str());
}

}  // namespace inferpool::api
