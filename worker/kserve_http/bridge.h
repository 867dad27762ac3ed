// The KServe v2 protocol over HTTP, for clients of Triton's and of the OpenVINO Model Server: each
// call is handed on to a model server over gRPC, and its answer is translated back.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "fcgi/wire/request.h"
#include "shared/board/heavy_steps.h"
#include "worker/backend/rpc/client.h"

namespace inferpool::rest {

struct Route {
  enum class To {
    kNowhere,
    kAdministrators,  // loading, shared memory, tracing, logging
    kServerMetadata,
    kLive,
    kReady,
    kIndex,
    kStatistics,  // of all models, unless one is named
    kModelMetadata,
    kModelReady,
    kModelConfig,
    kInfer,
  };

  To to = To::kNowhere;
  std::string model = {};
  std::string version = {};  // empty: the server chooses
};

// What a call took, for the histograms; none for what it did not come to.
struct Times {
  using Duration = std::chrono::microseconds;
  std::optional<Duration> decode = {};
  std::optional<Duration> infer = {};
  std::optional<Duration> encode = {};
};

struct Call {
  const fcgi::Request& request;
  const backend::CallLimits& limits;
  std::size_t body_bytes;  // at most so many, when the body is unpacked
  HeavySteps& heavy;
  // Whether the client may hear of a model, for what speaks of several. Null: of all.
  std::function<bool(std::string_view)> may_hear_of = {};
  // Has the last word on an inference request before it is sent. Null: no need.
  std::function<void(inference::ModelInferRequest&)> amend = {};
};

// Never fails: what goes wrong is an answer as Error makes it. Thread safe.
fcgi::Response Serve(const Route& route, const Call& call, const backend::Client& client,
                     Times& times);

// {"error":"..."}, with Retry-After when the status is 503.
fcgi::Response Error(int status, std::string_view text);

// What the model server, or the way to it, said: with the status that Triton's HTTP front has for
// that code, and 503, 504 and 499 for what comes of standing before a server.
fcgi::Response Error(const absl::Status& status);

}  // namespace inferpool::rest
