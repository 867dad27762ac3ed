// The id of a request in answers and logs.
#pragma once

#include <string>
#include <string_view>

namespace inferpool::http {

// Returns `from_client` when it consists of 1 to 64 letters, digits, '.', '_' and '-', and a new
// random id otherwise. nginx has a map with the same rule (nginx/inferpool.conf.in).
std::string RequestId(std::string_view from_client);

}  // namespace inferpool::http
