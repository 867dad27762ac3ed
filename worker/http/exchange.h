// One request on its way to an answer, and what all handlers share.
//
// Handlers are functions from an Exchange to a Response; they never fail, and what goes wrong is
// Exchange::Fail's answer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
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
#include "worker/http/lead.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"

namespace inferpool::predict {
struct Cache;
class ShadowRunner;
class SpareThreads;
}  // namespace inferpool::predict

namespace inferpool::routes {
struct RouteService;
}  // namespace inferpool::routes

namespace inferpool::http {

// What a worker's threads share. All of it is thread safe.
struct Services {
  const Config& config;
  const backend::Client& client;
  backend::InferenceClient& inference;
  backend::Catalog& catalog;
  const Quarantine& quarantine;
  const HeavyWork& heavy;
  predict::SpareThreads& spare_threads;
  KeyRing* keys = nullptr;                   // null: requests need no key
  predict::Cache* cache = nullptr;           // null: answers are not kept
  routes::RouteService* routes = nullptr;    // null: no name is a route's
  predict::ShadowRunner* shadows = nullptr;  // null: there are no shadows
};

// The model that is asked, and the route that led to it.
struct Asked {
  backend::ModelVersion model = {};
  std::string route = {};  // empty: the model was asked for by its name
  routes::Variant variant = routes::Variant::kPrimary;
};

// What a handler tells of its answer to those who count.
struct Report {
  bool model_away = false;     // it is a problem: the model's servers are away
  bool timed = false;          // its time tells how long the model takes for one such request
  bool none_answered = false;  // it is a batch, and the model failed with each of its pictures
  std::string version = {};    // of the model that answered
  std::uint64_t pictures = 0;  // that were answered
  std::uint64_t findings = 0;  // in them
};

// Everything that a handler needs to know of a request and to report about it. One thread makes it,
// and writes to it; a batch's other threads read it.
struct Exchange {
  const fcgi::Request& request;
  ThreadSlot& thread_slot;
  HeavySteps& heavy;
  std::string id;                   // the X-Request-ID header
  ProblemForm problem_form;         // the route's
  backend::CallLimits limits;       // bound each call to the model server
  std::string_view base_path = {};  // where clients find our pages: "/vision", or empty
  StageTimes times = {};
  std::shared_ptr<const KeyHolder> holder = nullptr;  // null when no key is needed
  std::optional<RateMeter::Decision> rate = {};       // nullopt unless the key's rate is limited
  Lead lead = {};                                     // of the name in the path, if it has one
  Asked asked = {};                                   // the way of `lead` that is gone
  Report report = {};

  // Turns of the key's rate that were taken besides the request's own, and how many of them are to
  // be used again, because the request is begun again.
  mutable std::atomic<int> more_turns = 0;
  mutable std::atomic<int> unused_turns = 0;

  Patience patience() const { return {.deadline = limits.deadline, .departed = limits.departed}; }

  // Whether the request's key is valid for this model. The router checks the model that the path
  // names; a handler that tells of other models checks them here.
  bool MayUse(std::string_view model) const {
    return holder == nullptr || holder->key.MayUse(model);
  }

  // Takes turns of the key's rate for a request that costs as much as `turns` requests: those that
  // it has not taken when it came. `parameter` is what makes it cost so much, and `what` says so:
  // "12 tiles". The problem is a 429, or a 400 when it could never pass. Any thread may call it.
  [[nodiscard]] std::optional<Problem> TakeTurns(int turns, const std::string& parameter,
                                                 std::string_view what) const;

  // Sets Stage::kTotal to the time since the request was accepted, and returns it.
  StageTimes::Duration SetTotalTime();

  // The problem as an answer, in the route's form.
  [[nodiscard]] fcgi::Response Fail(const Problem& problem) const;
};

// A 200 with this body as application/json.
fcgi::Response Json(std::string body);

// True for 1 to 255 bytes of UTF-8 without control characters; a path has a '/' in them
// percent-encoded, and between two of them stands neither nothing, "." nor "..". A model of another
// name is not listed, and a request for it is answered without a call: messages cannot carry some
// of them, and paths others.
bool CanBeModelName(std::string_view name);

}  // namespace inferpool::http
