// /v2 and all below it: the KServe v2 protocol (worker/kserve_http/bridge.h).
#pragma once

#include <string_view>

#include "worker/http/exchange.h"
#include "worker/kserve_http/bridge.h"

namespace inferpool::api {

// What a path means, with names decoded. Nowhere for what the protocol does not have, and for names
// that no model can have.
rest::Route RestRoute(std::string_view path);

// Errors have the protocol's form, {"error":"..."}, instead of a problem's.
fcgi::Response ServeRest(Exchange& exchange, const Services& services);

}  // namespace inferpool::api
