#include "worker/http/header_text.h"

#include <algorithm>

#include "shared/base/ascii.h"

namespace inferpool::http {

std::string MediaType(std::string_view content_type) {
  return LowerCase(Trim(content_type.substr(0, content_type.find(';'))));
}

std::string ContentCoding(std::string_view content_encoding) {
  std::string codings;
  while (!content_encoding.empty()) {
    const std::string_view item = content_encoding.substr(0, content_encoding.find(','));
    content_encoding.remove_prefix(std::min(item.size() + 1, content_encoding.size()));
    const std::string coding = LowerCase(Trim(item));
    if (coding.empty() || coding == "identity") continue;
    if (!codings.empty()) codings += ", ";
    codings += coding == "x-gzip" ? "gzip" : coding;
  }
  return codings;
}

std::optional<std::string> HeaderParameter(std::string_view header, std::string_view wanted) {
  std::size_t at = header.find(';');
  while (at != std::string_view::npos && at < header.size()) {
    ++at;
    const std::size_t equals = header.find_first_of("=;", at);
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string name = LowerCase(Trim(header.substr(at, equals - at)));
    if (header[equals] == ';') {
      at = equals;
      continue;
    }
    std::string value;
    at = header.find_first_not_of(" \t", equals + 1);
    if (at != std::string_view::npos && header[at] == '"') {
      for (++at; at < header.size() && header[at] != '"'; ++at) {
        if (header[at] == '\\' && at + 1 < header.size()) ++at;
        value += header[at];
      }
      if (at >= header.size()) return std::nullopt;  // no closing quote
      at = header.find(';', at);
    } else if (at != std::string_view::npos) {
      const std::size_t end = std::min(header.find(';', at), header.size());
      value = Trim(header.substr(at, end - at));
      at = end;
    }
    if (name == wanted) return value;
  }
  return std::nullopt;
}

}  // namespace inferpool::http
