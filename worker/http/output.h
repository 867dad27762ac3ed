// The forms of a prediction's answer: JSON, or the picture with what was found drawn into it.
#pragma once

#include <string_view>
#include <vector>

namespace inferpool::http {

enum class Output { kJson, kJpeg, kPng };

std::string_view ContentType(Output output);

// The forms that an Accept header allows (RFC 9110, section 12.5.1), the client's favourite first.
// JSON comes before what the client likes as much. The result is never empty: it is JSON only when
// the header is empty, allows none of the forms, or cannot be parsed.
std::vector<Output> Negotiate(std::string_view accept);

}  // namespace inferpool::http
