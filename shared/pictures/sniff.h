// Guesses what bytes are that we do not decode, so that a refusal tells the client its mistake.
#pragma once

#include <string_view>

namespace inferpool::vision {

// "BMP", "PDF", "text", "empty", ...; empty when nothing is recognised.
std::string_view GuessForeignFormat(std::string_view bytes);

}  // namespace inferpool::vision
