// What the request's headers ask of the way it is worked on.
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

// X-Timeout-Ms is at most `longest`, as are values above it. A header with another value than
// allowed is a Problem that names it; a traceparent that is not valid is as none, as its standard
// asks.
std::variant<RequestOptions, Problem> ParseOptions(const fcgi::Request& request,
                                                   std::chrono::milliseconds longest);

}  // namespace inferpool::http
