#include "worker/router.h"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "shared/base/log.h"
#include "worker/analyze/analyze.h"
#include "worker/analyze/pipeline.h"
#include "worker/http/lead.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/http/rate_fields.h"
#include "worker/http/request_id.h"
#include "worker/http/request_options.h"
#include "worker/http/stage_times.h"
#include "worker/kserve_http/handler.h"
#include "worker/kserve_http/route.h"
#include "worker/predict/batch.h"
#include "worker/predict/limits.h"
#include "worker/predict/models.h"
#include "worker/predict/pipelines.h"
#include "worker/predict/predict_handler.h"

namespace inferpool::worker {
namespace {

using http::Exchange;
using http::Problem;
using http::Services;

// A path's only handler.
struct Route {
  enum class To {
    kNotFound,
    kPredict,
    kPredictBatch,
    kAnalyze,
    kListModels,
    kDescribeModel,
    kLimits,
    kCameras,  // where there are none: otherwise nginx asks another process
    kKserve,
  };

  To to = To::kNotFound;
  std::string model = {};
};

// What stands between `prefix` and `suffix` when it is one segment; empty otherwise.
std::string_view Segment(std::string_view path, std::string_view prefix,
                         std::string_view suffix = "") {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  if (!path.ends_with(suffix)) return {};
  path.remove_suffix(suffix.size());
  return path.find('/') == std::string_view::npos ? path : std::string_view();
}

Route ParseRoute(std::string_view path) {
  using To = Route::To;
  if (kserve_http::IsProtocolPath(path)) return {To::kKserve};
  for (const std::string_view prefix : {"/v1/predict/", "/predict/"}) {
    if (const auto model = Segment(path, prefix, "/batch"); !model.empty()) {
      return {To::kPredictBatch, http::PercentDecode(model)};
    }
    if (const auto model = Segment(path, prefix); !model.empty()) {
      return {To::kPredict, http::PercentDecode(model)};
    }
  }
  if (path == "/v1/analyze") return {To::kAnalyze};
  if (path == "/v1/limits") return {To::kLimits};
  if (path == "/v1/models") return {To::kListModels};
  if (const auto model = Segment(path, "/v1/models/"); !model.empty()) {
    return {To::kDescribeModel, http::PercentDecode(model)};
  }
  if (path == "/v1/cameras") return {To::kCameras};
  for (const std::string_view suffix : {"", "/latest", "/snapshot.jpg", "/events"}) {
    if (!Segment(path, "/v1/cameras/", suffix).empty()) return {To::kCameras};
  }
  return {};
}

// Load balancers ask for these without a key.
bool NeedsKey(std::string_view path) {
  return path != "/v2/health/live" && path != "/v2/health/ready";
}

// The model that a path names, whether or not there is such a route; empty when it names none.
std::string ModelOf(std::string_view path) {
  if (path == "/v2/models/stats") return "";  // of all models
  for (const std::string_view prefix :
       {"/v1/predict/", "/predict/", "/v1/models/", "/v2/models/", "/v2/repository/models/"}) {
    if (!path.starts_with(prefix)) continue;
    path.remove_prefix(prefix.size());
    return http::PercentDecode(path.substr(0, path.find('/')));
  }
  return "";
}

// Finds out whose request it is, and whether their rate allows it.
std::optional<Problem> Admit(Exchange& exchange, const Services& services) {
  if (services.keys == nullptr || !NeedsKey(exchange.request.path)) return std::nullopt;
  const TimePoint now = Clock::now();
  auto identified =
      services.keys->Identify(exchange.request, now, std::chrono::system_clock::now());
  if (auto* problem = std::get_if<Problem>(&identified)) return std::move(*problem);
  exchange.holder = std::get<std::shared_ptr<const http::KeyHolder>>(std::move(identified));
  const ApiKey& key = exchange.holder->key;
  exchange.heavy.set_client(HeavyClientOfKey(key.name));
  // nginx sends a request again when a worker died on it, which had counted it.
  RateMeter& meter = *exchange.holder->meter;
  const RateMeter::Decision rate =
      exchange.request.again ? meter.Look(key.rate, now) : meter.Admit(key.rate, now);
  if (key.rate.per_s > 0) exchange.rate = rate;
  if (!rate.allowed) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(rate.retry_after).count();
    return http::TooManyRequests(
        fmt::format("this API key has more than {} requests a second, and {} at once; try again "
                    "in {} s",
                    key.rate.per_s, key.rate.burst, seconds),
        static_cast<int>(seconds));
  }
  return std::nullopt;
}

// Finds what the name in the path leads to, and whether the request's key may use that.
std::optional<Problem> FindLead(Exchange& exchange, const Services& services) {
  const std::string_view path = exchange.request.path;
  const std::string name = ModelOf(path);
  const bool is_of_protocol = kserve_http::IsProtocolPath(path);
  const bool is_pipeline =
      !is_of_protocol && predict::FindPipeline(services.config, name) != nullptr;
  // Others are refused by their handlers, without asking anybody.
  if (http::CanBeModelName(name) && !is_pipeline) {
    exchange.lead = http::LeadOf(exchange, services, name, !is_of_protocol);
  } else {
    exchange.lead.name = name;
  }
  if (name.empty() || exchange.MayUse(exchange.lead.name)) return std::nullopt;
  return http::Forbidden(fmt::format("this API key may not use the model {}", name));
}

// Applies the headers that say how to work on the request.
std::optional<Problem> ApplyOptions(Exchange& exchange, const Services& services) {
  const std::chrono::seconds longest(services.config.timeouts.request_s);
  const auto parsed = http::ParseOptions(exchange.request, longest);
  if (const auto* problem = std::get_if<Problem>(&parsed)) return *problem;
  const auto& options = std::get<http::RequestOptions>(parsed);
  backend::CallLimits& limits = exchange.limits;
  if (options.timeout) limits.deadline = Deadline(exchange.request.accepted + *options.timeout);
  limits.priority = options.priority;
  if (exchange.holder != nullptr) {
    limits.priority = Cap(options.priority, exchange.holder->key.priority);
  }
  limits.trace = options.trace;
  return std::nullopt;
}

// Asks the model that the name leads to, or the pipeline of that name.
fcgi::Response Predict(Exchange& exchange, const Services& services, const Route& route) {
  if (!http::CanBeModelName(route.model)) {
    return exchange.Fail(http::BackendProblem(absl::NotFoundError(""), route.model));
  }
  predict::Answerer answerer;
  const auto answer = [&](const backend::ModelVersion& model) {
    return route.to == Route::To::kPredict
               ? predict::Predict(exchange, services, model, answerer)
               : predict::PredictBatch(exchange, services, model, answerer);
  };
  const Config::Step* const pipeline = predict::FindPipeline(services.config, route.model);
  if (pipeline == nullptr) return http::AnswerByLead(exchange, services, answer);
  if (const auto problem = predict::CheckKey(exchange, services, route.model, *pipeline)) {
    return exchange.Fail(*problem);
  }
  answerer = analyze::AnswererOf(*pipeline);
  return answer({route.model});
}

fcgi::Response Dispatch(Exchange& exchange, const Services& services, const Route& route) {
  using To = Route::To;
  const std::string_view method = exchange.request.method;
  switch (route.to) {
    case To::kKserve:
      return kserve_http::Handle(exchange, services);
    case To::kPredict:
    case To::kPredictBatch:
      if (method != "POST") return exchange.Fail(http::MethodNotAllowed(method, "POST"));
      return Predict(exchange, services, route);
    case To::kAnalyze:
      if (method != "POST") return exchange.Fail(http::MethodNotAllowed(method, "POST"));
      return analyze::Analyze(exchange, services);
    case To::kListModels:
    case To::kDescribeModel:
    case To::kLimits:
    case To::kCameras:
      if (method != "GET" && method != "HEAD") {
        return exchange.Fail(http::MethodNotAllowed(method, "GET, HEAD"));
      }
      if (route.to == To::kCameras) break;
      if (route.to == To::kLimits) return predict::TellLimits(exchange, services);
      return route.to == To::kListModels ? predict::ListModels(exchange, services)
                                         : predict::DescribeModel(exchange, services);
    case To::kNotFound:
      break;
  }
  return exchange.Fail(http::UnknownRoute(exchange.request.path));
}

fcgi::Response Answer(Exchange& exchange, const Services& services, const Route& route) {
  const absl::Status& body_status = exchange.request.body_status;
  if (absl::IsResourceExhausted(body_status)) {  // whatever it asks for
    return exchange.Fail(http::BodyProblem(body_status));
  }
  if (const auto problem = Admit(exchange, services)) return exchange.Fail(*problem);
  if (const auto problem = FindLead(exchange, services)) return exchange.Fail(*problem);
  if (const auto problem = ApplyOptions(exchange, services)) return exchange.Fail(*problem);
  return Dispatch(exchange, services, route);
}

void AddHeaders(const Exchange& exchange, http::StageTimes::Duration total,
                fcgi::Response& response) {
  response.headers.emplace_back("X-Request-ID", exchange.id);
  response.headers.emplace_back("X-Process-Time",
                                fmt::format("{:.2f}ms", static_cast<double>(total.count()) / 1000));
  response.headers.emplace_back("Server-Timing", exchange.times.ServerTiming());
  if (exchange.holder != nullptr) {
    response.headers.emplace_back("X-Inferpool-Key", exchange.holder->key.name);
  }
  if (std::string route = http::RouteHeader(exchange); !route.empty()) {
    response.headers.emplace_back("X-Inferpool-Route", std::move(route));
  }
  if (exchange.rate) {
    const http::KeyHolder& holder = *exchange.holder;
    response.headers.emplace_back("RateLimit-Policy", http::RateLimitPolicy(holder.key.rate));
    response.headers.emplace_back(
        "RateLimit", http::RateLimitState(exchange.more_turns == 0
                                              ? *exchange.rate
                                              : holder.meter->Look(holder.key.rate, Clock::now())));
  }
}

void Count(const Exchange& exchange, const fcgi::Response& response) {
  ThreadSlot& thread_slot = exchange.thread_slot;
  thread_slot.CountStatus(response.status);
  thread_slot.CountBytes(exchange.request.body.size(), response.body.size());
  for (std::size_t i = 0; i < kStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (const auto& duration = exchange.times.Get(stage)) thread_slot.CountStage(stage, *duration);
  }
}

void Log(const Exchange& exchange, const Config& config, http::StageTimes::Duration total,
         const fcgi::Response& response) {
  const bool slow =
      config.log.slow_ms > 0 && total >= std::chrono::milliseconds(config.log.slow_ms);
  if (!slow && !config.log.access) return;
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
         {"stages", exchange.times.ServerTiming()},
         {"key", exchange.holder ? exchange.holder->key.name : ""},
         {"trace_id", trace ? trace->trace_id() : ""}});
}

}  // namespace

fcgi::Response Router::Handle(const fcgi::Request& request, ThreadSlot& thread_slot) const {
  const Route route = ParseRoute(request.path);
  HeavySteps heavy(services_.heavy, thread_slot, HeavyClient(request.client));
  Exchange exchange{
      .request = request,
      .thread_slot = thread_slot,
      .heavy = heavy,
      .id = http::RequestId(request.Header("x-request-id")),
      .problem_form = route.to == Route::To::kKserve ? http::ProblemForm::kKserve
                                                     : http::ProblemForm::kProblemJson,
      .limits = {.deadline = Deadline(request.accepted +
                                      std::chrono::seconds(services_.config.timeouts.request_s)),
                 .departed = request.departed},
      .base_path = services_.config.nginx.base_path};
  exchange.times.Set(Stage::kQueue, request.queue);
  exchange.times.Set(Stage::kRead, request.read);
  fcgi::Response response;
  try {
    response = Answer(exchange, services_, route);
  } catch (const std::exception& error) {  // out of memory, for one
    log::Error("request failed", {{"request_id", exchange.id}, {"reason", error.what()}});
    response = exchange.Fail(http::Internal("the worker could not finish this request"));
  }
  const auto total = exchange.SetTotalTime();
  AddHeaders(exchange, total, response);
  Count(exchange, response);
  Log(exchange, services_.config, total, response);
  return response;
}

}  // namespace inferpool::worker
