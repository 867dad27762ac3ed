// Parses the values of HTTP and MIME headers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inferpool::http {

// The type and subtype of a Content-Type, in lower case, without parameters: "image/jpeg".
std::string MediaType(std::string_view content_type);

// The codings of a Content-Encoding (RFC 9110, section 8.4), in lower case and without "identity":
// "gzip", for one. "x-gzip" is "gzip" (section 8.4.1.3). Empty when the body is as it is; several
// are parted by ", ".
std::string ContentCoding(std::string_view content_encoding);

// The value of a header's parameter, which follows the first ';' as `name="a;b"` or `name=ab`;
// nullopt when the header has no such parameter. A backslash escapes a quote in a value; browsers
// write %22 for one, which stays as it is.
std::optional<std::string> HeaderParameter(std::string_view header, std::string_view wanted);

}  // namespace inferpool::http
