// The header fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), which
// tell clients their key's rate before they meet it.
#pragma once

#include <string>

#include "shared/access/rate_limiter.h"

namespace inferpool::http {

// "default";q=100;w=2 for a limit of 50 requests per second, of which 100 may come at once: as many
// requests as come in at that rate in the whole seconds that a burst takes. Never fewer than a
// burst. `limit.per_s` must be above 0.
std::string RateLimitPolicy(const RateLimit& limit);

// "default";r=99;t=1: so many requests may come at once now, and it will be a burst again in so
// many seconds, rounded up; with r=0 it will be one request.
std::string RateLimitState(const RateMeter::Decision& decision);

}  // namespace inferpool::http
