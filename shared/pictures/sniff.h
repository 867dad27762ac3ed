// Guesses the format of bytes that we do not decode, so that a refusal can name the client's
// mistake.
#pragma once

#include <string_view>

namespace inferpool::vision {

// Returns "BMP", "PDF", "text", "empty", ..., or an empty text when it recognises nothing.
std::string_view GuessForeignFormat(std::string_view bytes);

}  // namespace inferpool::vision
