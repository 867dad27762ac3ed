// X-Timeout-Ms, X-Priority, traceparent and tracestate, a line each.
#include "worker/http/request_options.h"

#include <chrono>
#include <string>
#include <variant>

#include "tests/fuzz/check.h"

using namespace inferpool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::chrono::milliseconds kLongest{60'000};
  std::string_view text = fuzz::Text(data, size);
  fcgi::Request request;
  for (const char* name : {"x-timeout-ms", "x-priority", "traceparent", "tracestate"}) {
    request.headers.emplace_back(name, fuzz::TakeLine(text));
  }
  const auto parsed = http::ParseOptions(request, kLongest);
  if (const auto* problem = std::get_if<http::Problem>(&parsed)) {
    HOLDS(problem->status == 400 && problem->code == "bad-parameter");
    HOLDS(problem->parameter == "X-Timeout-Ms" || problem->parameter == "X-Priority");
    return 0;
  }
  const auto& options = std::get<http::RequestOptions>(parsed);
  HOLDS(!options.timeout || (options.timeout->count() >= 1 && *options.timeout <= kLongest));
  if (options.trace) {
    // It goes on as gRPC metadata, which must be printable ASCII.
    for (const std::string& value : {options.trace->traceparent, options.trace->tracestate}) {
      for (const char c : value) HOLDS(c >= ' ' && c <= '~');
    }
    const std::string_view id = options.trace->trace_id();
    HOLDS(id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos);
  }
  return 0;
}
