#include "worker/http/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "shared/base/ascii.h"
#include "shared/base/utf8.h"
#include "worker/http/header_text.h"
#include "worker/http/parameters.h"

namespace inferpool::http {
namespace {

constexpr std::size_t kMaxParts = 1'000;
constexpr std::size_t kMaxBoundary = 70;  // RFC 2046
constexpr std::size_t kMaxPartHeaders = std::size_t{16} * 1024;
constexpr std::size_t kMaxName = 200;

absl::Status Malformed(std::string_view why) {
  return InvalidArgument("the multipart body is malformed: {}", why);
}

struct RawPart {
  std::string_view headers;
  std::string_view content;
};

// Removes the first line from `text` and returns it without the line break.
std::string_view TakeLine(std::string_view& text) {
  std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The same with the lines that continue it (RFC 5322, section 2.2.3).
std::string TakeHeader(std::string_view& headers) {
  std::string header(TakeLine(headers));
  while (headers.starts_with(' ') || headers.starts_with('\t')) header += TakeLine(headers);
  return header;
}

// The value of the first header of that name, in lower case; empty when there is none.
std::string Header(std::string_view headers, std::string_view name) {
  while (!headers.empty()) {
    const std::string header = TakeHeader(headers);
    const std::size_t colon = header.find(':');
    if (colon == std::string::npos) continue;
    const std::string_view text = header;
    if (LowerCase(Trim(text.substr(0, colon))) == name) {
      return std::string(Trim(text.substr(colon + 1)));
    }
  }
  return "";
}

absl::StatusOr<std::string> Boundary(std::string_view content_type) {
  std::optional<std::string> boundary = HeaderParameter(content_type, "boundary");
  if (!boundary || boundary->empty() || boundary->size() > kMaxBoundary) {
    return InvalidArgument(
        "the Content-Type of a multipart body needs a boundary of 1 to 70 characters; let your "
        "client write that header itself");
  }
  return *std::move(boundary);
}

// Cuts a multipart body into its parts, `max_parts` of them at most.
absl::StatusOr<std::vector<RawPart>> Cut(std::string_view content_type, std::string_view body,
                                         std::size_t max_parts) {
  ASSIGN_OR_RETURN(const std::string boundary, Boundary(content_type));
  std::string delimiter = "\n--" + boundary;
  // The first one may stand at the very start, without the line break.
  std::size_t at = 0;
  if (!body.starts_with(std::string_view(delimiter).substr(1))) {
    at = body.find(delimiter);
    if (at == std::string_view::npos) return Malformed("its boundary does not occur");
    ++at;
  }
  at += delimiter.size() - 1;
  // How it ends says how all lines do.
  const std::size_t first_end = body.find('\n', at);
  const bool is_crlf = first_end == std::string_view::npos || body[first_end - 1] == '\r';
  const std::string_view line_break = is_crlf ? "\r\n" : "\n";
  if (is_crlf) delimiter.insert(0, 1, '\r');
  const std::string empty_line = std::string(line_break) + std::string(line_break);

  std::vector<RawPart> parts;
  while (!body.substr(at).starts_with("--")) {  // which makes it the last delimiter
    if (parts.size() == max_parts) return Malformed("it has more than 1000 parts");
    const std::size_t line_end = body.find(line_break, at);
    if (line_end == std::string_view::npos || !Trim(body.substr(at, line_end - at)).empty()) {
      return Malformed("text follows a boundary");
    }
    const std::size_t end = body.find(delimiter, line_end);
    if (end == std::string_view::npos) return Malformed("it is cut off before its last boundary");
    // A line break, headers, an empty line, the content. The line break before the next boundary
    // may be the empty line's own when there is no content.
    const std::string_view text = body.substr(line_end, end + line_break.size() - line_end);
    const std::size_t headers_end = text.substr(0, kMaxPartHeaders).find(empty_line);
    if (headers_end == std::string_view::npos) return Malformed("a part's headers do not end");
    const std::size_t content = std::min(line_end + headers_end + empty_line.size(), end);
    parts.push_back({text.substr(0, headers_end), body.substr(content, end - content)});
    at = end + delimiter.size();
  }
  return parts;
}

// Of RFC 2045. RFC 7578, section 4.7, wants none at all.
absl::Status CheckEncoding(const RawPart& part, std::string_view name) {
  const std::string encoding = LowerCase(Header(part.headers, "content-transfer-encoding"));
  if (encoding.empty() || encoding == "binary" || encoding == "8bit" || encoding == "7bit") {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      fmt::format("the field \"{}\" has Content-Transfer-Encoding {}; send it as it is",
                  Utf8Text(name, kMaxName), Utf8Text(encoding, kMaxName)));
}

absl::StatusOr<FormPart> Read(const RawPart& part, std::string name, std::string_view disposition) {
  RETURN_IF_ERROR(CheckEncoding(part, name));
  const bool has_empty_file_name = HeaderParameter(disposition, "filename") == "";
  return FormPart{.name = std::move(name),
                  .content_type = MediaType(Header(part.headers, "content-type")),
                  .content = part.content,
                  .is_no_file = has_empty_file_name && part.content.empty()};
}

}  // namespace

absl::StatusOr<std::vector<FormPart>> ReadForm(std::string_view content_type,
                                               std::string_view body) {
  ASSIGN_OR_RETURN(const std::vector<RawPart> outer, Cut(content_type, body, kMaxParts));
  std::vector<FormPart> parts;
  std::size_t left = kMaxParts - outer.size();
  for (const RawPart& part : outer) {
    const std::string disposition = Header(part.headers, "content-disposition");
    std::string name;
    if (MediaType(disposition) == "form-data") {
      name = PercentDecode(HeaderParameter(disposition, "name").value_or(""));
      name.resize(std::min(name.size(), kMaxName));
    }
    const std::string type = Header(part.headers, "content-type");
    if (MediaType(type) != "multipart/mixed") {
      ASSIGN_OR_RETURN(FormPart whole, Read(part, std::move(name), disposition));
      parts.push_back(std::move(whole));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<RawPart> inner, Cut(type, part.content, left));
    left -= inner.size();
    for (const RawPart& file : inner) {
      ASSIGN_OR_RETURN(FormPart one, Read(file, name, Header(file.headers, "content-disposition")));
      parts.push_back(std::move(one));
    }
  }
  return parts;
}

}  // namespace inferpool::http
