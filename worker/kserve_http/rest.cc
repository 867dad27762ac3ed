#include "worker/kserve_http/rest.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "worker/http/parameters.h"
#include "worker/http/timings.h"

namespace inferpool::api {
namespace {

using To = rest::Route::To;

// "/v2/models/a" is {"models", "a"}.
std::vector<std::string_view> SegmentsOf(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(std::string_view("/v2").size());
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    segments.push_back(path.substr(0, path.find('/')));
    path.remove_prefix(segments.back().size());
  }
  return segments;
}

bool IsVersion(std::string_view text) {
  constexpr std::size_t kMostDigits = 18;  // fits int64
  return !text.empty() && text.size() <= kMostDigits &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// What can be asked of a model; `what` may be empty.
To AboutModel(std::string_view what) {
  if (what.empty()) return To::kModelMetadata;
  if (what == "ready") return To::kModelReady;
  if (what == "config") return To::kModelConfig;
  if (what == "stats") return To::kStatistics;
  if (what == "infer") return To::kInfer;
  return To::kNowhere;
}

// `segments`: those behind "models", at least one.
rest::Route ModelRoute(std::vector<std::string_view> segments) {
  if (segments.size() == 1 && segments[0] == "stats") return {To::kStatistics};
  if (segments.size() == 3 && segments[1] == "trace" && segments[2] == "setting") {
    return {To::kAdministrators};
  }
  rest::Route route{.to = To::kModelMetadata, .model = PercentDecode(segments[0])};
  if (route.model.empty() || !CanBeModelName(route.model)) return {};
  segments.erase(segments.begin());
  if (segments.size() >= 2 && segments[0] == "versions") {
    if (!IsVersion(segments[1])) return {};
    route.version = segments[1];
    segments.erase(segments.begin(), segments.begin() + 2);
  }
  if (segments.size() > 1) return {};
  if (!segments.empty()) route.to = segments[0].empty() ? To::kNowhere : AboutModel(segments[0]);
  return route.to == To::kNowhere ? rest::Route{} : route;
}

std::uint64_t LevelOf(const ModelDescription& model, Priority priority) {
  if (priority == Priority::kHigh) return 1;
  return priority == Priority::kLow ? model.priority_levels : model.default_priority_level;
}

// The level that the client names in the parameter `priority`, as Triton's clients do, or else in
// X-Priority; but none that is more urgent than its key may ask for. Whoever may ask for all, and
// whoever asks for nothing, costs no look at the model.
void SetPriority(const Exchange& exchange, const Services& services,
                 inference::ModelInferRequest& request) {
  constexpr const char* kParameter = "priority";
  const Priority most =
      exchange.holder == nullptr ? Priority::kHigh : exchange.holder->key.priority;
  const auto named = request.parameters().find(kParameter);
  const bool names = named != request.parameters().end();
  if (names ? most == Priority::kHigh : exchange.limits.priority == Priority::kNormal) return;
  const auto model = services.catalog.Get(request.model_name(), exchange.limits.deadline);
  if (!model.ok()) {
    request.mutable_parameters()->erase(kParameter);
    return;
  }
  const ModelDescription& description = (*model)->description;
  if (description.priority_levels == 0) return;  // it would make nothing of it
  std::uint64_t level = LevelOf(description, exchange.limits.priority);
  if (names) {
    level =
        named->second.has_uint64_param()
            ? named->second.uint64_param()
            : static_cast<std::uint64_t>(std::max<std::int64_t>(named->second.int64_param(), 0));
    if (level == 0) level = description.default_priority_level;
    level = std::max(level, LevelOf(description, most));
  }
  (*request.mutable_parameters())[kParameter].set_int64_param(static_cast<std::int64_t>(level));
}

}  // namespace

rest::Route RestRoute(std::string_view path) {
  if (path == "/v2") return {To::kServerMetadata};
  if (path == "/v2/health/live") return {To::kLive};
  if (path == "/v2/health/ready") return {To::kReady};
  if (path == "/v2/repository/index") return {To::kIndex};
  for (const std::string_view prefix : {"/v2/repository/models/", "/v2/systemsharedmemory/",
                                        "/v2/cudasharedmemory/", "/v2/trace/", "/v2/logging"}) {
    if (path.starts_with(prefix)) return {To::kAdministrators};
  }
  std::vector<std::string_view> segments = SegmentsOf(path);
  if (segments.size() < 2 || segments[0] != "models") return {};
  segments.erase(segments.begin());
  return ModelRoute(std::move(segments));
}

fcgi::Response ServeRest(Exchange& exchange, const Services& services) {
  const fcgi::Request& request = exchange.request;
  const rest::Route route = RestRoute(request.path);
  if (route.to == To::kInfer && request.body_status.ok()) {
    const Digest digest = services.quarantine.DigestOf(request.body);
    if (services.quarantine.Has(digest, route.model, Clock::now())) {
      return exchange.Fail(Quarantined());
    }
    // From here on, a crash is this body's doing.
    exchange.lane.task.Store({.request_id = RequestName(exchange.id),
                              .model = ModelName(route.model),
                              .digest = digest});
  }
  constexpr std::size_t kMb = std::size_t{1} << 20;
  rest::Times times;
  fcgi::Response response = rest::Serve(
      route,
      {.request = request,
       .limits = exchange.limits,
       .body_bytes = static_cast<std::size_t>(services.config.limits.body_mb) * kMb,
       .heavy = exchange.heavy,
       .may_hear_of = [&](std::string_view model) { return exchange.MayUse(model); },
       .amend =
           [&](inference::ModelInferRequest& infer) { SetPriority(exchange, services, infer); }},
      services.client, times);
  const auto set = [&exchange](Stage stage, const std::optional<rest::Times::Duration>& time) {
    if (time) exchange.timings.Set(stage, *time);
  };
  set(Stage::kPreprocess, times.decode);
  set(Stage::kInfer, times.infer);
  set(Stage::kPostprocess, times.encode);
  return response;
}

}  // namespace inferpool::api
