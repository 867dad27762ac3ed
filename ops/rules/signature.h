// How a receiver knows that an event is ours, and not one that somebody has kept and sends again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/base/status.h"

namespace inferpool::rules {

// "t=1764490123,v1=5257a8..." for the header X-Inferpool-Signature: the time in Unix seconds, and
// HMAC-SHA256 with the secret as its key over the time, a dot and the body, in hexadecimal digits.
std::string Signature(std::string_view secret, std::int64_t unix_s, std::string_view body);

// The secret in the file: its bytes without white space around them. FAILED_PRECONDITION: it is no
// regular file, cannot be read, has less than 16 bytes or more than 4 KB.
absl::StatusOr<std::string> ReadSecret(const std::string& file);

}  // namespace inferpool::rules
