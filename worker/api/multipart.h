// Reading multipart/form-data bodies (RFC 7578, RFC 2046). Bodies are views: nothing is copied.
#pragma once

#include <string>
#include <string_view>

#include "shared/status.h"

namespace inferpool::api {

// The type and subtype of a Content-Type, in lower case, without parameters: "image/jpeg".
std::string MediaType(std::string_view content_type);

// The content of the part named `name`. Errors, all INVALID_ARGUMENT with a text for the client:
// no usable boundary, a body that is cut off or not made of parts, no part of that name, or two.
// At most 1,000 parts are looked at.
absl::StatusOr<std::string_view> FindPart(std::string_view content_type, std::string_view body,
                                          std::string_view name);

}  // namespace inferpool::api
