// One request on its way to an answer, and what the routes answer it with.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "fcgi/wire/request.h"
#include "shared/board/heavy_steps.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"
#include "worker/backend/catalog.h"
#include "worker/backend/inference_client.h"
#include "worker/backend/rpc/client.h"
#include "worker/http/key_ring.h"
#include "worker/http/problem.h"
#include "worker/http/timings.h"

namespace inferpool::api {

struct Cache;
class SpareThreads;

// A worker's own, shared by its threads.
struct Services {
  const Config& config;
  const backend::Client& client;
  backend::InferenceClient& inference;
  backend::Catalog& catalog;
  const Quarantine& quarantine;
  const HeavyWork& heavy;
  SpareThreads& spare_threads;
  KeyRing* keys = nullptr;  // null: no key is asked for
  Cache* cache = nullptr;   // null: no answer is kept
};

// Whether a path belongs to the KServe v2 protocol, whose errors have a form of their own.
bool IsRest(std::string_view path);

struct Exchange {
  const fcgi::Request& request;
  Lane& lane;
  HeavySteps& heavy;
  std::string id;              // X-Request-ID
  backend::CallLimits limits;  // of what is asked of the model server
  Timings timings;
  std::shared_ptr<const KeyHolder> holder;  // null: no key is asked for

  Patience patience() const { return {.deadline = limits.deadline, .departed = limits.departed}; }

  // Whether the request's key is for this model. The router asks for the model that the path names;
  // a route that speaks of others asks here.
  bool MayUse(std::string_view model) const {
    return holder == nullptr || holder->key.MayUse(model);
  }

  // The problem as an answer. Under /v2 it has what clients of that protocol look for as well: the
  // detail as "error".
  fcgi::Response Fail(const Problem& problem) const;
};

fcgi::Response Json(std::string body);

// Printable ASCII without '/', at most 128 characters. Nobody needs to be asked for other names,
// and gRPC could not carry some of them.
bool CanBeModelName(std::string_view name);

}  // namespace inferpool::api
