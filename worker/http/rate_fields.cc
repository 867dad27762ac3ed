#include "worker/http/rate_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace inferpool::http {

std::string RateLimitPolicy(const RateLimit& limit) {
  // Integers of structured fields have at most 15 digits (RFC 9651, 3.3.1).
  constexpr double kLargest = 999'999'999'999'999;
  const double window = std::clamp(std::ceil(limit.burst / limit.per_s), 1.0, kLargest);
  const double quota = std::max(std::floor(limit.per_s * window), static_cast<double>(limit.burst));
  return fmt::format("\"default\";q={:.0f};w={:.0f}", std::min(quota, kLargest), window);
}

std::string RateLimitState(const RateMeter::Decision& decision) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(decision.restored_in).count();
  return fmt::format("\"default\";r={};t={}", decision.remaining, seconds);
}

}  // namespace inferpool::http
