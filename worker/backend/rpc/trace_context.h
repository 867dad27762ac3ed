// W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request belongs to. We
// make no spans of our own, so what goes on to the model server is what the client sent: its span
// is the parent of the model server's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inferpool::backend {

struct TraceContext {
  std::string traceparent;
  std::string tracestate;  // empty: none

  // 32 hexadecimal digits.
  std::string_view trace_id() const { return std::string_view(traceparent).substr(3, 32); }
};

// Nothing when `traceparent` is not valid, of version 00 or of a later one that begins the same
// way. A `tracestate` that is not valid is left out.
std::optional<TraceContext> ParseTraceContext(std::string_view traceparent,
                                              std::string_view tracestate);

}  // namespace inferpool::backend
