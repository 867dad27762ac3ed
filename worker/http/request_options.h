// The headers that say how to work on a request.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <variant>

#include "fcgi/wire/request.h"
#include "shared/base/priority.h"
#include "worker/backend/rpc/trace_context.h"
#include "worker/http/problem.h"

namespace inferpool::http {

struct RequestOptions {
  std::optional<std::chrono::milliseconds> timeout;      // X-Timeout-Ms
  Priority priority = Priority::kNormal;                 // X-Priority
  std::shared_ptr<const backend::TraceContext> trace{};  // traceparent, tracestate; null: none
};

// Parses them. A timeout above `longest` becomes `longest`. A header whose value is not allowed is
// a Problem that names the header; an invalid traceparent is ignored, as W3C Trace Context asks.
std::variant<RequestOptions, Problem> ParseOptions(const fcgi::Request& request,
                                                   std::chrono::milliseconds longest);

}  // namespace inferpool::http
