// Parses multipart/form-data bodies (RFC 7578, RFC 2046).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::http {

struct FormPart {
  std::string name;          // percent-decoded, and cut to 200 bytes; empty when the part has none
  std::string content_type;  // its media type in lower case, without parameters; empty for none
  std::string_view content;  // a view into the body
  // What browsers send for a file input in which nothing was chosen: an empty file name, no bytes.
  bool is_no_file = false;
};

// The parts of a form in the body's order. A part of multipart/mixed (RFC 7578, section 4.3) gives
// those that it consists of, each with its name. The lines of the body may end in CR LF, or all of
// them in LF alone. Headers may be folded.
//
// Errors have a text for the client. INVALID_ARGUMENT: there is no usable boundary, the body is cut
// off or does not consist of parts, the headers of one have more than 16 KB, or there are more than
// 1,000 of them. UNIMPLEMENTED: a part has a Content-Transfer-Encoding that changes its bytes.
absl::StatusOr<std::vector<FormPart>> ReadForm(std::string_view content_type,
                                               std::string_view body);

}  // namespace inferpool::http
