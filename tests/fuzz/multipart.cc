// multipart/form-data: a line with the Content-Type, then the body.
#include "worker/http/multipart.h"

#include <string>

#include "tests/fuzz/check.h"
#include "worker/http/header_text.h"

using namespace inferpool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view body = fuzz::Text(data, size);
  const std::string_view content_type = fuzz::TakeLine(body);
  const auto boundary = http::HeaderParameter(content_type, "boundary");

  const auto parts = http::FindParts(content_type, body, "images");
  const auto one = http::FindPart(content_type, body, "images");
  HOLDS(one.ok() == (parts.ok() && parts->size() == 1));
  if (parts.ok()) {
    HOLDS(!parts->empty() && parts->size() <= 1'000);
    std::string_view rest = body;
    for (const std::string_view part : *parts) {
      HOLDS(fuzz::Within(part, rest));  // in order, one behind the other
      HOLDS(part.find("\r\n--" + *boundary) == std::string_view::npos);
      rest = rest.substr(static_cast<std::size_t>(part.data() - rest.data()) + part.size());
    }
  } else {
    HOLDS(absl::IsInvalidArgument(parts.status()) && !parts.status().message().empty());
  }

  // A form that is made of any content, and of any boundary that a sender may choose, is read back.
  if (!boundary || boundary->empty() || boundary->size() > 70) return 0;
  const std::string delimiter = "--" + *boundary;
  if (delimiter.find_first_of("\r\n") != std::string::npos) return 0;
  if (("\r\n" + std::string(body)).find("\r\n" + delimiter) != std::string::npos) return 0;
  const std::string head =
      delimiter + "\r\nContent-Disposition: form-data; name=\"images\"\r\n\r\n";
  const std::string form =
      head + std::string(body) + "\r\n" + head + "x\r\n" + delimiter + "--\r\n";
  const auto back = http::FindParts(content_type, form, "images");
  HOLDS(back.ok() && back->size() == 2 && (*back)[0] == body && (*back)[1] == "x");
  return 0;
}
