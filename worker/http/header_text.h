// Parses the values of HTTP and MIME headers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inferpool::http {

// The type and subtype of a Content-Type, in lower case, without parameters: "image/jpeg".
std::string MediaType(std::string_view content_type);

// The value of a header's parameter, which follows the first ';' as `name="a;b"` or `name=ab`;
// nullopt when the header has no such parameter. A backslash escapes a quote in a value; browsers
// write %22 for one, which stays as it is.
std::optional<std::string> HeaderParameter(std::string_view header, std::string_view wanted);

}  // namespace inferpool::http
