#include "ops/live/api.h"

#include <fmt/format.h>
#include <poll.h>

#include <exception>
#include <optional>
#include <utility>
#include <variant>

#include "shared/base/log.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/http/rate_fields.h"
#include "worker/http/request_id.h"

namespace inferpool::live {
namespace {

constexpr std::string_view kCameras = "/v1/cameras";
constexpr int kListenAgainSeconds = 5;

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

fcgi::Response Good(std::string_view content_type, std::string body) {
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", content_type);
  response.body = std::move(body);
  return response;
}

// Whether there is something to take from the listener by then.
bool ComesBy(const Listener& listener, Deadline deadline) {
  pollfd event{.fd = listener.fd(), .events = POLLIN, .revents = 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.Left(Clock::now()));
  return poll(&event, 1, static_cast<int>(left.count())) > 0;
}

// The one parameter of a stream, which has the value `findings` or is missing.
std::variant<bool, http::Problem> FindingsOnly(std::string_view query) {
  if (query.empty()) return false;
  const std::size_t equals = query.find('=');
  const std::string name = http::PercentDecode(query.substr(0, equals));
  if (name != "findings") {
    return http::BadParameter(name, "there is no such parameter here; there is findings=only");
  }
  if (equals == std::string_view::npos || query.substr(equals + 1) != "only") {
    return http::BadParameter("findings", "findings is only, or is missing");
  }
  return true;
}

}  // namespace

Route ParseRoute(std::string_view path) {
  using To = Route::To;
  if (path == kCameras) return {To::kList};
  if (!path.starts_with(kCameras) || path.substr(kCameras.size(), 1) != "/") return {};
  path.remove_prefix(kCameras.size() + 1);
  const std::size_t slash = path.find('/');
  Route route{.camera = http::PercentDecode(path.substr(0, slash))};
  if (route.camera.empty()) return route;
  if (slash == std::string_view::npos) {
    route.to = To::kCamera;
    return route;
  }
  const std::string_view rest = path.substr(slash + 1);
  if (rest == "latest") route.to = To::kLatest;
  if (rest == "snapshot.jpg") route.to = To::kSnapshot;
  if (rest == "events") route.to = To::kEvents;
  return route;
}

struct Api::Exchange {
  const fcgi::Request& request;
  const Route route;
  const std::string id;  // the X-Request-ID header
  const TimePoint now = Clock::now();
  std::shared_ptr<const http::KeyHolder> holder = nullptr;  // null when no key is needed
  std::optional<RateMeter::Decision> rate = {};
};

namespace {

std::optional<http::Problem> Identify(http::KeyRing& keys, const fcgi::Request& request,
                                      TimePoint now,
                                      std::shared_ptr<const http::KeyHolder>& holder) {
  auto identified = keys.Identify(request, now, std::chrono::system_clock::now());
  if (auto* problem = std::get_if<http::Problem>(&identified)) return std::move(*problem);
  holder = std::get<std::shared_ptr<const http::KeyHolder>>(std::move(identified));
  return std::nullopt;
}

}  // namespace

Reply Api::Fail(const Exchange& exchange, const http::Problem& problem) const {
  return {http::Render(problem, http::ProblemForm::kProblemJson, exchange.id, parts_.base_path)};
}

Reply Api::Handle(const fcgi::Request& request) const {
  Exchange exchange{.request = request,
                    .route = ParseRoute(request.path),
                    .id = http::RequestId(request.Header("x-request-id"))};
  Reply reply;
  try {
    reply = Dispatch(exchange);
  } catch (const std::exception& error) {  // out of memory, for one
    log::Error("request failed", {{"request_id", exchange.id}, {"reason", error.what()}});
    reply = Fail(exchange, http::Internal("this request could not be finished"));
  }
  auto& headers = reply.response.headers;
  headers.emplace_back("Cache-Control", "no-store");
  if (exchange.holder != nullptr) {
    headers.emplace_back("X-Inferpool-Key", exchange.holder->key.name);
  }
  if (exchange.rate) {
    headers.emplace_back("RateLimit-Policy", http::RateLimitPolicy(exchange.holder->key.rate));
    headers.emplace_back("RateLimit", http::RateLimitState(*exchange.rate));
  }
  return reply;
}

Reply Api::Dispatch(Exchange& exchange) const {
  using To = Route::To;
  const fcgi::Request& request = exchange.request;
  const Route& route = exchange.route;
  if (parts_.keys != nullptr) {
    if (const auto problem = Identify(*parts_.keys, request, exchange.now, exchange.holder)) {
      return Fail(exchange, *problem);
    }
    const ApiKey& key = exchange.holder->key;
    const RateMeter::Decision rate = exchange.holder->meter->Admit(key.rate, exchange.now);
    if (key.rate.per_s > 0) exchange.rate = rate;
    if (!rate.allowed) {
      const auto seconds = std::chrono::ceil<std::chrono::seconds>(rate.retry_after).count();
      return Fail(exchange, http::TooManyRequests(
                                fmt::format("this API key has more than {} requests a second, and "
                                            "{} at once; try again in {} s",
                                            key.rate.per_s, key.rate.burst, seconds),
                                static_cast<int>(seconds)));
    }
    if (!route.camera.empty() && !key.MayWatch(route.camera)) {
      return Fail(exchange, http::Forbidden(fmt::format("this API key may not watch the camera {}",
                                                        route.camera)));
    }
  }
  if (route.to == To::kNotFound) return Fail(exchange, http::UnknownRoute(request.path));
  if (request.method != "GET" && request.method != "HEAD") {
    return Fail(exchange, http::MethodNotAllowed(request.method, "GET, HEAD"));
  }
  if (route.to == To::kList) return List(exchange);
  const absl::Status known = parts_.cameras.CheckKnown(route.camera, exchange.now);
  if (absl::IsNotFound(known)) return Fail(exchange, http::UnknownCamera(route.camera));
  if (!known.ok()) return Fail(exchange, http::StreamsAway());
  switch (route.to) {
    case To::kCamera:
      return Describe(exchange);
    case To::kLatest:
      return Latest(exchange);
    case To::kSnapshot:
      return Snapshot(exchange);
    default:
      return Events(exchange);
  }
}

Reply Api::List(const Exchange& exchange) const {
  std::string list;
  const std::int64_t now_ms = NowMs();
  for (const Camera& camera : parts_.cameras.All(exchange.now)) {
    if (exchange.holder != nullptr && !exchange.holder->key.MayWatch(camera.id)) continue;
    list += (list.empty() ? "" : ",") + ToJson(camera, now_ms);
  }
  return {Good("application/json", fmt::format("{{\"cameras\":[{}],\"redis\":\"{}\"}}\n", list,
                                               parts_.is_connected() ? "up" : "away"))};
}

Reply Api::Describe(const Exchange& exchange) const {
  const auto camera = parts_.cameras.Find(exchange.route.camera, exchange.now);
  if (!camera.ok()) return Fail(exchange, http::StreamsAway());
  return {Good("application/json", ToJson(*camera, NowMs()) + "\n")};
}

Reply Api::Latest(const Exchange& exchange) const {
  const auto newest = parts_.cameras.Newest(exchange.route.camera, exchange.now);
  if (newest == nullptr) {
    return Fail(exchange, http::NothingYet("no frame of this camera has been answered lately"));
  }
  return {Good("application/json", newest->json + "\n")};
}

Reply Api::Snapshot(const Exchange& exchange) const {
  const std::string& camera = exchange.route.camera;
  const auto deadline = Deadline::After(parts_.snapshot_wait);
  absl::StatusOr<std::string> picture = parts_.questions.Snapshot(camera);
  if (picture.ok() && picture->empty()) {
    // The camera's owner makes one of the next answer, now that somebody looks.
    const auto listener = parts_.listeners.Join(camera, "", /*findings_only=*/false);
    while (listener.ok() && picture.ok() && picture->empty() && ComesBy(**listener, deadline)) {
      if ((*listener)->Take().is_over) break;
      picture = parts_.questions.Snapshot(camera);
    }
  }
  // An answer that is not stored, for nothing was found, tells nobody that there is a picture.
  if (picture.ok() && picture->empty()) picture = parts_.questions.Snapshot(camera);
  if (!picture.ok()) return Fail(exchange, http::StreamsAway());
  if (picture->empty()) {
    return Fail(exchange, http::NothingYet("there is no picture of this camera yet: one is made of "
                                           "its next frame, if any comes"));
  }
  if (parts_.counts != nullptr) parts_.counts->snapshots.fetch_add(1, std::memory_order_relaxed);
  return {Good("image/jpeg", *std::move(picture))};
}

Reply Api::Events(const Exchange& exchange) const {
  const std::string& camera = exchange.route.camera;
  const auto findings_only = FindingsOnly(exchange.request.query);
  if (const auto* problem = std::get_if<http::Problem>(&findings_only)) {
    return Fail(exchange, *problem);
  }
  EventStream::Options options{.findings_only = std::get<bool>(findings_only),
                               .counts = parts_.counts};
  if (const std::string_view after = exchange.request.Header("last-event-id"); !after.empty()) {
    options.after = ParseEntryId(after);
    if (!options.after) {
      return Fail(exchange, http::BadParameter("Last-Event-ID",
                                               "Last-Event-ID is no id that an event here has"));
    }
  }
  Reply reply{Good("text/event-stream", "")};
  if (exchange.request.method == "HEAD") return reply;
  const std::string key = exchange.holder == nullptr ? "" : exchange.holder->key.name;
  auto listener = parts_.listeners.Join(camera, key, options.findings_only);
  if (!listener.ok()) {
    http::Problem problem = http::Overloaded(std::string(Message(listener.status())));
    problem.retry_after_s = kListenAgainSeconds;
    return Fail(exchange, problem);
  }
  options.read_history = [&questions = parts_.questions, camera](EntryId after) {
    return questions.History(camera, after);
  };
  if (parts_.keys != nullptr) {
    options.may_stay = [&keys = *parts_.keys, &request = exchange.request, camera] {
      std::shared_ptr<const http::KeyHolder> holder;
      return !Identify(keys, request, Clock::now(), holder) && holder->key.MayWatch(camera);
    };
  }
  reply.stream = std::make_unique<EventStream>(*std::move(listener), std::move(options));
  return reply;
}

}  // namespace inferpool::live
