// Reading the values of HTTP and MIME headers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inferpool::http {

// The type and subtype of a Content-Type, in lower case, without parameters: "image/jpeg".
std::string MediaType(std::string_view content_type);

// The value of a parameter of a header: `name="a;b"` or `name=ab` after the first ';'. Browsers
// write %22 for a quote in a value; a backslash escapes one.
std::optional<std::string> HeaderParameter(std::string_view header, std::string_view wanted);

}  // namespace inferpool::http
