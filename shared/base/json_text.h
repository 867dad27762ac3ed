// Text as JSON.
#pragma once

#include <string>
#include <string_view>

namespace inferpool {

// `text` as a JSON string, quotes included, in ASCII. Each byte that is no part of well-formed
// UTF-8 becomes U+FFFD; the text around it stays, which jsoncpp's own function does not promise,
// nor that it goes on after a zero byte.
std::string QuotedJson(std::string_view text);

}  // namespace inferpool
