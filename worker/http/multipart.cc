#include "worker/http/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "shared/base/ascii.h"
#include "worker/http/header_text.h"

namespace inferpool::http {
namespace {

constexpr int kMaxParts = 1'000;
constexpr std::size_t kMaxBoundary = 70;  // RFC 2046
constexpr std::size_t kMaxPartHeaders = std::size_t{16} * 1024;

// The `name` of a part's Content-Disposition; nothing when it has none.
std::optional<std::string> PartName(std::string_view headers) {
  while (!headers.empty()) {
    const std::size_t end = std::min(headers.find("\r\n"), headers.size());
    const std::string_view line = headers.substr(0, end);
    headers.remove_prefix(std::min(end + 2, headers.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    if (LowerCase(Trim(line.substr(0, colon))) != "content-disposition") continue;
    if (!LowerCase(Trim(line.substr(colon + 1))).starts_with("form-data")) return std::nullopt;
    return HeaderParameter(line, "name");
  }
  return std::nullopt;
}

absl::Status Malformed(std::string_view why) {
  return InvalidArgument("the multipart body is malformed: {}", why);
}

}  // namespace

absl::StatusOr<std::vector<std::string_view>> FindParts(std::string_view content_type,
                                                        std::string_view body,
                                                        std::string_view name) {
  const std::optional<std::string> boundary = HeaderParameter(content_type, "boundary");
  if (!boundary || boundary->empty() || boundary->size() > kMaxBoundary) {
    return InvalidArgument(
        "Content-Type: multipart/form-data needs a boundary of 1 to 70 characters");
  }
  const std::string delimiter = "\r\n--" + *boundary;

  // The first delimiter may stand at the very start, without the line break.
  const std::string_view first = std::string_view(delimiter).substr(2);
  std::size_t at = 0;
  if (body.starts_with(first)) {
    at = first.size();
  } else {
    at = body.find(delimiter);
    if (at == std::string_view::npos) return Malformed("its boundary does not occur");
    at += delimiter.size();
  }

  std::vector<std::string_view> found;
  for (int part = 0;; ++part) {
    if (body.substr(at).starts_with("--")) break;  // the closing delimiter
    if (part == kMaxParts) return Malformed("it has more than 1000 parts");
    const std::size_t line_end = body.find("\r\n", at);
    if (line_end == std::string_view::npos || !Trim(body.substr(at, line_end - at)).empty()) {
      return Malformed("text follows a boundary");
    }
    const std::size_t end = body.find(delimiter, line_end);
    if (end == std::string_view::npos) return Malformed("it is cut off before its last boundary");
    // A line break, headers, an empty line, the content. The line break before the next boundary
    // may be the empty line's own when there is no content.
    const std::string_view part_text = body.substr(line_end, end + 2 - line_end);
    const std::size_t empty_line = part_text.substr(0, kMaxPartHeaders).find("\r\n\r\n");
    if (empty_line == std::string_view::npos) return Malformed("a part's headers do not end");
    if (PartName(part_text.substr(0, empty_line)) == name) {
      const std::size_t content = std::min(line_end + empty_line + 4, end);
      found.push_back(body.substr(content, end - content));
    }
    at = end + delimiter.size();
  }
  if (found.empty()) {
    return InvalidArgument("the form has no field \"{}\"", name);
  }
  return found;
}

absl::StatusOr<std::string_view> FindPart(std::string_view content_type, std::string_view body,
                                          std::string_view name) {
  ASSIGN_OR_RETURN(const auto parts, FindParts(content_type, body, name));
  if (parts.size() == 1) return parts.front();
  return InvalidArgument("the form has more than one field \"{}\"", name);
}

}  // namespace inferpool::http
