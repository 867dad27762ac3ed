// GET /v1/limits: what a client would otherwise find by being refused.
#pragma once

#include <string>
#include <string_view>

#include "worker/http/exchange.h"

namespace inferpool::predict {

// Tells the limits for the request's key, or for those without one.
fcgi::Response TellLimits(const http::Exchange& exchange, const http::Services& services);

// {"body_bytes":...,"pixels":...,...}. `key`: null when no key is needed. `edge`: what nginx says
// of its own limits for one client, "RATE BURST CONNECTIONS" in whole numbers, in which 0 is none;
// empty when a request did not come by nginx.
std::string LimitsJson(const Config& config, const ApiKey* key, std::string_view edge);

}  // namespace inferpool::predict
