// Text as JSON.
#pragma once

#include <string>
#include <string_view>

namespace inferpool {

// `text` as a JSON string, quotes included, by jsoncpp's rules: ASCII only, bytes that are no UTF-8
// replaced. Unlike jsoncpp's function it goes on after a zero byte.
std::string QuotedJson(std::string_view text);

}  // namespace inferpool
