// As what a prediction is answered: JSON, or the picture with what was found drawn into it.
#pragma once

#include <string_view>
#include <vector>

namespace inferpool::http {

enum class Output { kJson, kJpeg, kPng };

std::string_view ContentType(Output output);

// What the client accepts by its Accept header (RFC 9110, section 12.5.1), the best first; of what
// it likes as much as another, JSON comes first. JSON alone when it accepts none of them, does not
// care or writes what cannot be understood. Never empty.
std::vector<Output> Negotiate(std::string_view accept);

}  // namespace inferpool::http
