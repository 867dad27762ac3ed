#include "shared/json_text.h"

#include <json/json.h>

namespace inferpool {

std::string QuotedJson(std::string_view text) {
  std::string quoted = "\"";
  while (true) {
    const std::size_t zero = text.find('\0');
    const std::string piece = Json::valueToQuotedString(std::string(text.substr(0, zero)).c_str());
    quoted.append(piece, 1, piece.size() - 2);
    if (zero == std::string_view::npos) return quoted + "\"";
    quoted += "\\u0000";
    text.remove_prefix(zero + 1);
  }
}

}  // namespace inferpool
