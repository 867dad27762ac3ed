// Parses multipart/form-data bodies (RFC 7578, RFC 2046). Nothing is copied: the results are views
// into the body.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::http {

// The contents of the parts named `name`, in the body's order: at least one. INVALID_ARGUMENT, with
// a text for the client, when there is no usable boundary, when the body is cut off or does not
// consist of parts, when it has more than 1,000 parts, or when none has that name.
absl::StatusOr<std::vector<std::string_view>> FindParts(std::string_view content_type,
                                                        std::string_view body,
                                                        std::string_view name);

// The content of the only part of that name. Two of them are an error as well.
absl::StatusOr<std::string_view> FindPart(std::string_view content_type, std::string_view body,
                                          std::string_view name);

}  // namespace inferpool::http
