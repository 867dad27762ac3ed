#include "worker/http/request_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

namespace inferpool::http {
namespace {

constexpr const char* kTimeout = "X-Timeout-Ms";
constexpr const char* kPriority = "X-Priority";

// A whole number from 1; what is too large for the type is `longest` too.
std::optional<std::chrono::milliseconds> ParseTimeout(std::string_view text,
                                                      std::chrono::milliseconds longest) {
  const bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || text.find_first_not_of('0') == std::string_view::npos) return std::nullopt;
  std::int64_t ms = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), ms).ec != std::errc()) return longest;
  return std::min(std::chrono::milliseconds(ms), longest);
}

}  // namespace

std::variant<RequestOptions, Problem> ParseOptions(const fcgi::Request& request,
                                                   std::chrono::milliseconds longest) {
  RequestOptions options;
  if (const std::string_view text = request.Header("x-timeout-ms"); !text.empty()) {
    options.timeout = ParseTimeout(text, longest);
    if (!options.timeout) {
      return BadParameter(
          kTimeout, fmt::format("{} is \"{}\", allowed is a whole number of milliseconds from 1",
                                kTimeout, text));
    }
  }
  if (const std::string_view text = request.Header("x-priority"); !text.empty()) {
    const auto priority = ParsePriority(text);
    if (!priority) {
      return BadParameter(kPriority, fmt::format("{} is \"{}\", allowed are high, normal and low",
                                                 kPriority, text));
    }
    options.priority = *priority;
  }
  if (auto trace =
          backend::ParseTraceContext(request.Header("traceparent"), request.Header("tracestate"))) {
    options.trace = std::make_shared<const backend::TraceContext>(*std::move(trace));
  }
  return options;
}

}  // namespace inferpool::http
