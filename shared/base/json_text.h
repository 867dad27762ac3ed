// Writes text as JSON.
#pragma once

#include <string>
#include <string_view>

namespace inferpool {

// Returns `text` as a JSON string in ASCII, quotes included. Each byte that is not part of
// well-formed UTF-8 becomes U+FFFD, and the text around it stays. (jsoncpp's function does not
// promise that, and may stop at a zero byte.)
std::string QuotedJson(std::string_view text);

}  // namespace inferpool
