// Text of ASCII characters; others stay as they are.
#pragma once

#include <string>
#include <string_view>

namespace inferpool {

std::string LowerCase(std::string_view text);

// Without the `blanks` around it.
std::string_view Trim(std::string_view text, std::string_view blanks = " \t");

}  // namespace inferpool
