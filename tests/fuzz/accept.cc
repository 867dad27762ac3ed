// The headers that say what a client sends and wants: their parameters, and what Accept comes to.
#include <string>
#include <vector>

#include "shared/base/ascii.h"
#include "tests/fuzz/check.h"
#include "worker/http/header_text.h"
#include "worker/http/output.h"

using namespace inferpool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::Text(data, size);
  const std::string lower = LowerCase(text);

  const std::vector<http::Output> outputs = http::Negotiate(text);
  HOLDS(!outputs.empty() && outputs.size() <= 3);
  const http::Output output = outputs.front();
  HOLDS(outputs == http::Negotiate(lower));  // media types are told apart without regard to case
  // A picture is never the answer to somebody who did not ask for one, or likes JSON as much.
  HOLDS(output == http::Output::kJson || lower.find("image/") != std::string::npos ||
        lower.find("*/*") != std::string::npos);
  HOLDS(http::Negotiate("application/json," + std::string(text)).front() == http::Output::kJson);

  HOLDS(http::MediaType(text).find(';') == std::string::npos);
  const std::string_view trimmed = Trim(text);
  HOLDS(trimmed.empty() || fuzz::Within(trimmed, text));
  const auto value = http::HeaderParameter(text, "name");
  HOLDS(!value || (value->size() < size && lower.find("name") != std::string::npos));

  // Any text comes back out of a quoted value.
  std::string quoted = "form-data; filename=\"x;name=y\"; name=\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  HOLDS(http::HeaderParameter(quoted + '"', "name") == text);
  return 0;
}
