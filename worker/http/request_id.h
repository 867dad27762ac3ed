// The id by which a request is known in answers and logs.
#pragma once

#include <string>
#include <string_view>

namespace inferpool::http {

// `from_client` when it is sane: 1 to 64 letters, digits, '.', '_', '-'; else a new random one.
// nginx's map of the same rule must agree with this (nginx/inferpool.conf.in).
std::string RequestId(std::string_view from_client);

}  // namespace inferpool::http
