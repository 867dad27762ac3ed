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

  const auto parts = http::ReadForm(content_type, body);
  if (parts.ok()) {
    HOLDS(parts->size() <= 1'000);
    std::string_view rest = body;
    for (const http::FormPart& part : *parts) {
      HOLDS(fuzz::Within(part.content, rest));  // in order, one behind the other
      HOLDS(part.content.find("\r\n--" + *boundary) == std::string_view::npos);
      HOLDS(part.name.size() <= 200 && !(part.is_no_file && !part.content.empty()));
      const auto begin = static_cast<std::size_t>(part.content.data() - rest.data());
      rest = rest.substr(begin + part.content.size());
    }
  } else {
    HOLDS(absl::IsInvalidArgument(parts.status()) || absl::IsUnimplemented(parts.status()));
    HOLDS(!parts.status().message().empty());
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
  const auto back = http::ReadForm(content_type, form);
  HOLDS(back.ok() && back->size() == 2);
  HOLDS((*back)[0].content == body && (*back)[1].content == "x");
  HOLDS((*back)[0].name == "images" && (*back)[1].name == "images");

  // Also as a file within a part of multipart/mixed.
  const std::string inner = "inferpool" + *boundary;  // which does not begin as the outer one does
  if (inner.size() > 70 || inner.starts_with(*boundary) || inner.find('"') != std::string::npos ||
      inner.find('\\') != std::string::npos ||
      ("\r\n" + std::string(body)).find("\r\n--" + inner) != std::string::npos) {
    return 0;
  }
  const std::string nested = delimiter +
                             "\r\nContent-Disposition: form-data; name=\"images\"\r\n"
                             "Content-Type: multipart/mixed; boundary=\"" +
                             inner + "\"\r\n\r\n--" + inner + "\r\n\r\n" + std::string(body) +
                             "\r\n--" + inner + "--\r\n" + delimiter + "--\r\n";
  const auto files = http::ReadForm(content_type, nested);
  HOLDS(files.ok() && files->size() == 1);
  HOLDS((*files)[0].content == body && (*files)[0].name == "images");
  return 0;
}
