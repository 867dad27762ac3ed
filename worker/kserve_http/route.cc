#include "worker/kserve_http/route.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "shared/base/check.h"
#include "worker/http/exchange.h"
#include "worker/http/parameters.h"

namespace inferpool::kserve_http {
namespace {

using To = Route::To;

constexpr std::string_view kRoot = "/v2";

// "/v2/models/a" is {"models", "a"}.
std::vector<std::string_view> SegmentsOf(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(kRoot.size());
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    segments.push_back(path.substr(0, path.find('/')));
    path.remove_prefix(segments.back().size());
  }
  return segments;
}

bool IsVersion(std::string_view text) {
  constexpr std::size_t kMaxDigits = 18;  // fits int64
  return !text.empty() && text.size() <= kMaxDigits &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// What can be asked of a model: the path's last segment.
To AboutModel(std::string_view what) {
  if (what == "ready") return To::kModelReady;
  if (what == "config") return To::kModelConfig;
  if (what == "stats") return To::kStatistics;
  if (what == "infer") return To::kInfer;
  return To::kNotFound;
}

// `segments`: those behind "models", at least one.
Route ModelRoute(std::vector<std::string_view> segments) {
  if (segments.size() == 1 && segments[0] == "stats") return {To::kStatistics};
  if (segments.size() == 3 && segments[1] == "trace" && segments[2] == "setting") {
    return {To::kForbidden};
  }
  Route route{.to = To::kModelMetadata, .model = http::PercentDecode(segments[0])};
  if (route.model.empty() || !http::CanBeModelName(route.model)) return {};
  segments.erase(segments.begin());
  if (segments.size() >= 2 && segments[0] == "versions") {
    if (!IsVersion(segments[1])) return {};
    route.version = segments[1];
    segments.erase(segments.begin(), segments.begin() + 2);
  }
  if (segments.size() > 1) return {};
  if (!segments.empty()) route.to = AboutModel(segments[0]);
  return route.to == To::kNotFound ? Route{} : route;
}

}  // namespace

bool IsProtocolPath(std::string_view path) {
  if (!path.starts_with(kRoot)) return false;
  path.remove_prefix(kRoot.size());
  return path.empty() || path.starts_with('/');
}

Route ParseRoute(std::string_view path) {
  CHECK(IsProtocolPath(path));
  if (path == kRoot) return {To::kServerMetadata};
  if (path == "/v2/health/live") return {To::kLive};
  if (path == "/v2/health/ready") return {To::kReady};
  if (path == "/v2/repository/index") return {To::kIndex};
  for (const std::string_view prefix : {"/v2/repository/models/", "/v2/systemsharedmemory/",
                                        "/v2/cudasharedmemory/", "/v2/trace/", "/v2/logging"}) {
    if (path.starts_with(prefix)) return {To::kForbidden};
  }
  std::vector<std::string_view> segments = SegmentsOf(path);
  if (segments.size() < 2 || segments[0] != "models") return {};
  segments.erase(segments.begin());
  return ModelRoute(std::move(segments));
}

}  // namespace inferpool::kserve_http
