// Reading multipart/form-data bodies (RFC 7578, RFC 2046). Bodies are views: nothing is copied.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::http {

// The contents of the parts named `name`, in the body's order. Errors, all INVALID_ARGUMENT with a
// text for the client: no usable boundary, a body that is cut off or not made of parts, more than
// 1,000 parts, or none of that name.
absl::StatusOr<std::vector<std::string_view>> FindParts(std::string_view content_type,
                                                        std::string_view body,
                                                        std::string_view name);

// The content of the only one of that name; two are an error as well.
absl::StatusOr<std::string_view> FindPart(std::string_view content_type, std::string_view body,
                                          std::string_view name);

}  // namespace inferpool::http
