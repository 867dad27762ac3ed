// As what a prediction is answered: JSON, or the picture with what was found drawn into it.
#pragma once

#include <string_view>

namespace inferpool::api {

enum class Output { kJson, kJpeg, kPng };

std::string_view ContentType(Output output);

// What the client prefers by its Accept header (RFC 9110, section 12.5.1); JSON when it does not
// care, prefers it as much as another, accepts none of them, or writes what cannot be understood.
Output Negotiate(std::string_view accept);

}  // namespace inferpool::api
