#include "worker/api.h"

#include <fmt/format.h>

#include <exception>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/log.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/http/request_id.h"
#include "worker/http/request_options.h"
#include "worker/http/timings.h"
#include "worker/kserve_http/rest.h"
#include "worker/predict/batch.h"
#include "worker/predict/models.h"
#include "worker/predict/predict.h"

namespace inferpool::api {
namespace {

// What stands between `prefix` and `suffix`, one segment; empty when the path is another.
std::string_view Segment(std::string_view path, std::string_view prefix,
                         std::string_view suffix = "") {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  if (!path.ends_with(suffix)) return {};
  path.remove_suffix(suffix.size());
  return path.find('/') == std::string_view::npos ? path : std::string_view();
}

// What load balancers ask, who have no key.
bool NeedsKey(std::string_view path) {
  return path != "/v2/health/live" && path != "/v2/health/ready";
}

// The model that a path is about; empty: none.
std::string ModelOf(std::string_view path) {
  if (path == "/v2/models/stats") return "";  // of all models
  for (const std::string_view prefix :
       {"/v1/predict/", "/predict/", "/v1/models/", "/v2/models/", "/v2/repository/models/"}) {
    if (!path.starts_with(prefix)) continue;
    path.remove_prefix(prefix.size());
    return PercentDecode(path.substr(0, path.find('/')));
  }
  return "";
}

}  // namespace

fcgi::Response Api::Handle(const fcgi::Request& request, Lane& lane) const {
  const Deadline deadline(request.accepted +
                          std::chrono::seconds(services_.config.timeouts.request_s));
  HeavySteps heavy(services_.heavy, lane, HeavyClient(request.client));
  Exchange exchange{request,
                    lane,
                    heavy,
                    RequestId(request.Header("x-request-id")),
                    {.deadline = deadline, .departed = request.departed},
                    {},
                    {}};
  Timings& timings = exchange.timings;
  timings.Set(Stage::kQueue, request.queue);
  timings.Set(Stage::kRead, request.read);
  fcgi::Response response;
  try {
    response = Answer(exchange);
  } catch (const std::exception& error) {  // out of memory, for one
    log::Error("request failed", {{"request_id", exchange.id}, {"reason", error.what()}});
    response = exchange.Fail(Internal("the worker could not finish this request"));
  }
  const auto total = std::chrono::duration_cast<Timings::Duration>(Clock::now() - request.accepted);
  timings.Set(Stage::kTotal, total);
  response.headers.emplace_back("X-Request-ID", exchange.id);
  response.headers.emplace_back("X-Process-Time",
                                fmt::format("{:.2f}ms", static_cast<double>(total.count()) / 1000));
  response.headers.emplace_back("Server-Timing", timings.ServerTiming());
  if (exchange.holder != nullptr) {
    response.headers.emplace_back("X-Inferpool-Key", exchange.holder->key.name);
  }

  lane.CountStatus(response.status);
  lane.CountBytes(request.body.size(), response.body.size());
  for (std::size_t i = 0; i < kStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (const auto& duration = timings.Get(stage)) lane.CountStage(stage, *duration);
  }
  Log(exchange, response);
  return response;
}

fcgi::Response Api::Answer(Exchange& exchange) const {
  const fcgi::Request& request = exchange.request;
  if (absl::IsResourceExhausted(request.body_status)) {
    return exchange.Fail(BodyProblem(request.body_status));
  }
  if (const auto problem = Admit(exchange)) return exchange.Fail(*problem);
  const std::chrono::seconds longest(services_.config.timeouts.request_s);
  const auto options = ParseOptions(request, longest);
  if (const auto* problem = std::get_if<Problem>(&options)) return exchange.Fail(*problem);
  const auto& wanted = std::get<RequestOptions>(options);
  if (wanted.timeout) exchange.limits.deadline = Deadline(request.accepted + *wanted.timeout);
  exchange.limits.priority = wanted.priority;
  if (exchange.holder != nullptr) {
    exchange.limits.priority = Cap(wanted.priority, exchange.holder->key.priority);
  }
  exchange.limits.trace = wanted.trace;
  return Route(exchange);
}

// Who asks, whether they may, and how often.
std::optional<Problem> Api::Admit(Exchange& exchange) const {
  const std::string_view path = exchange.request.path;
  if (services_.keys == nullptr || !NeedsKey(path)) return std::nullopt;
  const TimePoint now = Clock::now();
  auto identified =
      services_.keys->Identify(exchange.request, now, std::chrono::system_clock::now());
  if (auto* problem = std::get_if<Problem>(&identified)) return std::move(*problem);
  exchange.holder = std::get<std::shared_ptr<const KeyHolder>>(std::move(identified));
  const ApiKey& key = exchange.holder->key;
  exchange.heavy.set_client(HeavyClientOfKey(key.name));
  // One that is sent again was counted by the worker that died.
  const auto [allowed, retry_after] = exchange.request.again
                                          ? RateMeter::Decision{.allowed = true, .retry_after = {}}
                                          : exchange.holder->meter->Admit(key.rate, now);
  if (!allowed) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(retry_after).count();
    return TooManyRequests(fmt::format("this API key has more than {} requests a second, and {} "
                                       "at once; try again in {} s",
                                       key.rate.per_s, key.rate.burst, seconds),
                           static_cast<int>(seconds));
  }
  if (const std::string model = ModelOf(path); !model.empty() && !key.MayUse(model)) {
    return Forbidden(fmt::format("this API key may not use the model {}", model));
  }
  return std::nullopt;
}

fcgi::Response Api::Route(Exchange& exchange) const {
  const fcgi::Request& request = exchange.request;
  const std::string_view path = request.path;
  if (IsRest(path)) return ServeRest(exchange, services_);
  const bool reads = request.method == "GET" || request.method == "HEAD";
  for (const std::string_view prefix : {"/v1/predict/", "/predict/"}) {
    const std::string_view batch = Segment(path, prefix, "/batch");
    const std::string_view model = Segment(path, prefix);
    if (batch.empty() && model.empty()) continue;
    if (request.method != "POST") return exchange.Fail(MethodNotAllowed(request.method, "POST"));
    return batch.empty() ? Predict(exchange, services_, PercentDecode(model))
                         : PredictBatch(exchange, services_, PercentDecode(batch));
  }
  if (path == "/v1/models") {
    if (!reads) return exchange.Fail(MethodNotAllowed(request.method, "GET, HEAD"));
    return ListModels(exchange);
  }
  if (const std::string_view model = Segment(path, "/v1/models/"); !model.empty()) {
    if (!reads) return exchange.Fail(MethodNotAllowed(request.method, "GET, HEAD"));
    return DescribeModel(exchange, PercentDecode(model));
  }
  return exchange.Fail(UnknownRoute(path));
}

fcgi::Response Api::ListModels(Exchange& exchange) const {
  const Deadline deadline = exchange.limits.deadline;
  const auto names = services_.client.ReadyModels(deadline);
  if (!names.ok()) return exchange.Fail(BackendProblem(names.status(), ""));
  std::vector<std::shared_ptr<const backend::Model>> models;
  for (const std::string& name : *names) {
    if (!exchange.MayUse(name)) continue;
    auto model = services_.catalog.Get(name, deadline);
    if (absl::IsNotFound(model.status())) continue;  // unloaded meanwhile
    if (!model.ok()) return exchange.Fail(BackendProblem(model.status(), name));
    models.push_back(*std::move(model));
  }
  return Json(ToJson(models));
}

fcgi::Response Api::DescribeModel(Exchange& exchange, const std::string& model) const {
  if (!CanBeModelName(model)) {
    return exchange.Fail(BackendProblem(absl::NotFoundError(""), model));
  }
  const auto known = services_.catalog.Get(model, exchange.limits.deadline);
  if (!known.ok()) return exchange.Fail(BackendProblem(known.status(), model));
  return Json(ToJson(**known) + "\n");
}

void Api::Log(const Exchange& exchange, const fcgi::Response& response) const {
  const auto total = exchange.timings.Get(Stage::kTotal).value_or(Timings::Duration(0));
  const bool slow = services_.config.log.slow_ms > 0 &&
                    total >= std::chrono::milliseconds(services_.config.log.slow_ms);
  if (!slow && !services_.config.log.access) return;
  const auto write = slow ? &log::Warning : &log::Info;
  const auto& trace = exchange.limits.trace;
  write(slow ? "slow request" : "request",
        {{"request_id", exchange.id},
         {"client", exchange.request.client},
         {"method", exchange.request.method},
         {"path", exchange.request.path},
         {"status", response.status},
         {"bytes_in", exchange.request.body.size()},
         {"bytes_out", response.body.size()},
         {"total_ms", static_cast<double>(total.count()) / 1000},
         {"stages", exchange.timings.ServerTiming()},
         {"key", exchange.holder ? exchange.holder->key.name : ""},
         {"trace_id", trace ? trace->trace_id() : ""}});
}

}  // namespace inferpool::api
