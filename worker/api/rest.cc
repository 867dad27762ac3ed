#include "worker/api/rest.h"

#include <algorithm>
#include <string>
#include <vector>

#include "worker/api/parameters.h"
#include "worker/api/timings.h"

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

}  // namespace

bool IsRest(std::string_view path) {
  return path == "/v2" || path.starts_with("/v2/");
}

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
  if (absl::IsResourceExhausted(request.body_status)) {
    return rest::Error(503, Message(request.body_status));
  }
  const rest::Route route = RestRoute(request.path);
  if (route.to == To::kInfer && request.body_status.ok()) {
    const Digest digest = DigestOf(request.body);
    if (services.quarantine.Has(digest, route.model, Clock::now())) {
      return rest::Error(422, Quarantined().detail);
    }
    // From here on, a crash is this body's doing.
    exchange.lane.task.Store({.request_id = RequestName(exchange.id),
                              .model = ModelName(route.model),
                              .digest = digest});
  }
  constexpr std::size_t kMb = std::size_t{1} << 20;
  rest::Times times;
  fcgi::Response response =
      rest::Serve(route,
                  {.request = request,
                   .limits = exchange.limits,
                   .body_bytes = static_cast<std::size_t>(services.config.limits.body_mb) * kMb,
                   .may_use = [&](std::string_view model) { return exchange.MayUse(model); },
                   .may_prioritise = exchange.holder == nullptr ||
                                     exchange.holder->key.priority == Priority::kHigh},
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
