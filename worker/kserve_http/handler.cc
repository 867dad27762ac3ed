#include "worker/kserve_http/handler.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "shared/base/json_text.h"
#include "worker/backend/infer_request.h"
#include "worker/http/header_text.h"
#include "worker/kserve_http/infer_request.h"
#include "worker/kserve_http/infer_response.h"
#include "worker/kserve_http/inflate.h"
#include "worker/kserve_http/json_header.h"
#include "worker/kserve_http/message_json.h"
#include "worker/kserve_http/route.h"
#include "worker/routes/route_service.h"

namespace inferpool::kserve_http {
namespace {

using http::Exchange;
using http::Json;
using http::Problem;
using http::ProtocolError;
using http::Services;
using To = Route::To;

// gRPC's messages about connections name addresses, which clients need not know.
bool NamesAnAddress(std::string_view text) {
  constexpr std::array<std::string_view, 4> kAddresses = {"unix:", "ipv4:", "ipv6:", "dns:"};
  return std::ranges::any_of(kAddresses, [&](std::string_view address) {
    return text.find(address) != std::string_view::npos;
  });
}

// Without the name of the call that worker/backend puts before the server's words.
std::string_view WithoutCall(std::string_view text) {
  const std::size_t colon = text.find(": ");
  if (colon == std::string_view::npos) return text;
  const google::protobuf::ServiceDescriptor* service =
      inference::ServerMetadataRequest::descriptor()->file()->service(0);
  const bool is_call = service->FindMethodByName(std::string(text.substr(0, colon))) != nullptr;
  return is_call ? text.substr(colon + 2) : text;
}

// An error of the model server, or of the way to it. The statuses are those of Triton's HTTP front
// end; what a client meets only because there is a pool before the server is told as under /v1.
Problem ServerError(const absl::Status& status) {
  const std::string_view text = WithoutCall(Message(status));
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return ProtocolError(404, text);
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return ProtocolError(http::BackendProblem(status, ""));
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      if (!NamesAnAddress(text)) return ProtocolError(503, text);
      return ProtocolError(http::BackendProblem(absl::UnavailableError(""), ""));
    case absl::StatusCode::kUnimplemented:
      return ProtocolError(501, text);
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return ProtocolError(500, text);
    default:
      return ProtocolError(400, text);
  }
}

template <typename Message>
fcgi::Response Answer(const Exchange& exchange, const absl::StatusOr<Message>& message) {
  return message.ok() ? Json(ToJson(*message)) : exchange.Fail(ServerError(message.status()));
}

// The Allow header for a method that the route does not have; empty when it has the method.
std::string_view OtherMethodsAllowed(To to, std::string_view method) {
  const bool reads = method == "GET" || method == "HEAD";
  if (to == To::kInfer) return method == "POST" ? "" : "POST";
  if (to == To::kIndex) return reads || method == "POST" ? "" : "GET, HEAD, POST";
  return reads ? "" : "GET, HEAD";
}

// How the body is packed; empty when it is not.
std::string EncodingOf(const fcgi::Request& request) {
  return http::ContentCoding(request.Header("content-encoding"));
}

// The body, unpacked to at most so many bytes.
std::variant<Body, Problem> ReadBody(const Exchange& exchange, std::size_t max_bytes) {
  const fcgi::Request& request = exchange.request;
  if (!request.body_status.ok()) return ProtocolError(http::BodyProblem(request.body_status));
  const std::string encoding = EncodingOf(request);
  if (encoding.empty()) return Body{request.body, request.body_bytes};
  auto text = Inflate(request.body, encoding, max_bytes, exchange.patience());
  if (absl::IsUnimplemented(text.status())) {
    return ProtocolError(
        http::UnsupportedCoding(std::string(Message(text.status())), kContentCodings));
  }
  if (!text.ok()) return ProtocolError(http::BodyProblem(text.status()));
  const auto owner = std::make_shared<const std::string>(*std::move(text));
  return Body{*owner, owner};
}

// The value of the header Inference-Header-Content-Length; nullopt without it.
absl::StatusOr<std::optional<std::size_t>> HeaderLength(const fcgi::Request& request) {
  const std::string_view text = request.Header("inference-header-content-length");
  if (text.empty()) return std::nullopt;
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("Inference-Header-Content-Length is no number");
  }
  return length;
}

// Removes the entries about models that the request's key may not use, and about those that no path
// can name.
template <typename Entries>
void HideOtherModels(const Exchange& exchange, Entries& entries) {
  entries.erase(std::remove_if(entries.begin(), entries.end(),
                               [&exchange](const auto& entry) {
                                 return !exchange.MayUse(entry.name()) ||
                                        !http::CanBeModelName(entry.name());
                               }),
                entries.end());
}

fcgi::Response ServerReady(const Exchange& exchange, const Services& services) {
  // It needs no key, so it must not hold a thread for long.
  constexpr std::chrono::milliseconds kPatience{500};
  const Deadline deadline(std::min(exchange.limits.deadline.at(), Clock::now() + kPatience));
  if (!services.client.CheckAdmits().ok() || !services.client.ServerReady(deadline).ok()) {
    return exchange.Fail(ProtocolError(503, "the model server is not ready"));
  }
  return Json(R"({"ready":true})");
}

// `name`: as the client has it.
fcgi::Response ModelReady(const Exchange& exchange, const Services& services, const Route& route,
                          const std::string& name) {
  backend::ModelCalls model(services.client, route.model, route.version);
  const auto answer = model.Ready(exchange.limits);
  if (!answer.ok()) return exchange.Fail(ServerError(answer.status()));
  if (!answer->ready()) {
    const std::string version =
        route.version.empty() ? "" : fmt::format(" version {}", route.version);
    return exchange.Fail(
        ProtocolError(400, fmt::format("model {}{} is not ready", route.model, version)));
  }
  return Json(fmt::format(R"({{"name":{},"ready":true}})", QuotedJson(name)));
}

fcgi::Response ModelConfig(const Exchange& exchange, const Services& services, const Route& route) {
  backend::ModelCalls model(services.client, route.model, route.version);
  const auto answer = model.Config(exchange.limits);
  if (!answer.ok()) return exchange.Fail(ServerError(answer.status()));
  return Json(ToJson(answer->config()));
}

// What the body of a request for the index asks for: only the models that are ready, or all.
std::variant<bool, Problem> AsksForReady(const Exchange& exchange) {
  const fcgi::Request& request = exchange.request;
  // Triton's own client names no length when it has nothing to send.
  const bool has_body = !absl::IsFailedPrecondition(request.body_status);
  if (request.method != "POST" || !has_body) return false;
  constexpr std::size_t kMaxBody = std::size_t{64} << 10;  // nginx's limit for what is not packed
  const auto read = ReadBody(exchange, kMaxBody);
  if (const auto* problem = std::get_if<Problem>(&read)) return *problem;
  const std::string_view body = std::get<Body>(read).bytes;
  if (body.empty()) return false;
  const absl::StatusOr<JsonHeader> json = ReadJsonHeader(body);
  if (!json.ok()) return ServerError(json.status());
  const Json::Value& ready = json->root["ready"];
  if (ready.isNull()) return false;
  if (!ready.isBool()) return ProtocolError(400, "\"ready\" is neither true nor false");
  return ready.asBool();
}

// Puts the routes in the place of the models that they hide. One is as ready as what it leads to.
void PutRoutes(const Config::Routes& routes, bool only_ready,
               inference::RepositoryIndexResponse& index) {
  using Entry = inference::RepositoryIndexResponse::ModelIndex;
  std::vector<Entry> entries;
  for (const auto& [name, route] : routes) {
    Entry& entry = entries.emplace_back();
    entry.set_name(name);
    entry.set_state("UNAVAILABLE");
    for (const Entry& model : index.models()) {
      const bool is_it = model.name() == route.model &&
                         (route.version.empty() || model.version() == route.version);
      if (!is_it || model.state() != "READY") continue;
      entry.set_state("READY");
      break;
    }
    if (only_ready && entry.state() != "READY") entries.pop_back();
  }
  auto& models = *index.mutable_models();
  models.erase(std::remove_if(models.begin(), models.end(),
                              [&](const Entry& model) { return routes.contains(model.name()); }),
               models.end());
  for (Entry& entry : entries) *index.add_models() = std::move(entry);
}

fcgi::Response Index(const Exchange& exchange, const Services& services) {
  const auto ready = AsksForReady(exchange);
  if (const auto* problem = std::get_if<Problem>(&ready)) return exchange.Fail(*problem);
  auto answer = services.client.RepositoryIndex(std::get<bool>(ready), exchange.limits);
  if (answer.ok() && services.routes != nullptr) {
    PutRoutes(*services.routes->live.Current(), std::get<bool>(ready), *answer);
  }
  if (answer.ok()) HideOtherModels(exchange, *answer->mutable_models());
  return Answer(exchange, answer);
}

fcgi::Response Statistics(const Exchange& exchange, const Services& services, const Route& route) {
  auto answer = route.model.empty()
                    ? services.client.AllStatistics(exchange.limits)
                    : backend::ModelCalls(services.client, route.model, route.version)
                          .Statistics(exchange.limits);
  // The one of the path may be a route's, whose key need not allow it.
  if (answer.ok() && route.model.empty()) {
    HideOtherModels(exchange, *answer->mutable_model_stats());
  }
  return Answer(exchange, answer);
}

// More than that is heavy: some 100 ms of a processor.
constexpr std::size_t kLightJson = std::size_t{2} << 20;
constexpr std::size_t kLightOutputs = std::size_t{4} << 20;

std::size_t MaxBodyBytes(const Services& services) {
  return static_cast<std::size_t>(services.config.limits.body_mb) << 20;
}

// What it costs to read an inference request, at most.
struct Cost {
  std::uint64_t bytes;
  bool heavy;
};

Cost ReadingCost(const fcgi::Request& request, const std::optional<std::size_t>& header,
                 std::size_t max_body_bytes) {
  constexpr std::uint64_t kRawPerJson = 4;  // elements.h
  const std::string encoding = EncodingOf(request);
  const std::uint64_t unpacked =
      encoding.empty() ? 0 : InflatedBytes(request.body, encoding, max_body_bytes);
  const std::uint64_t body = encoding.empty() ? request.body.size() : unpacked;
  const std::uint64_t json = std::min<std::uint64_t>(body, header.value_or(body));
  return {.bytes = unpacked + kRawPerJson * json, .heavy = std::max(unpacked, json) > kLightJson};
}

// The bytes that the outputs take as JSON, at most; 0 when they are not worth counting.
std::uint64_t WritingCost(const backend::InferAnswer& answer, const InferCall& infer) {
  constexpr std::uint64_t kJsonPerRaw = 3;  // numbers with all their digits
  std::uint64_t raw = 0;
  for (const TensorView& tensor : answer.tensors()) {
    if (!infer.IsBinary(std::string(tensor.name))) raw += tensor.data.size();
  }
  return raw > kLightOutputs ? raw * kJsonPerRaw : 0;
}

// What the model's server says of it, so that a large body is not read for a model that does not
// exist or does not take it. It has shapes only when the server also has the model's configuration,
// as Triton's protocol does: elsewhere shapes may lack the batch.
absl::StatusOr<inference::ModelMetadataResponse> Describe(const Exchange& exchange,
                                                          backend::ModelCalls& calls) {
  auto model = calls.Metadata(exchange.limits);
  if (absl::IsUnimplemented(model.status())) return inference::ModelMetadataResponse();
  if (!model.ok() || calls.Config(exchange.limits).ok()) return model;
  for (auto& input : *model->mutable_inputs()) input.clear_shape();
  return model;
}

// An inference request that was read, and its heavy step, which keeps the memory of the inputs.
struct Reading {
  InferCall infer;
  HeavyStep step;

  std::uint64_t bytes() const {
    return std::accumulate(
        infer.raw.begin(), infer.raw.end(), std::uint64_t{0},
        [](std::uint64_t sum, const auto& raw) { return sum + raw.data.size(); });
  }
};

std::variant<Reading, Problem> Read(Exchange& exchange, const Services& services,
                                    backend::ModelCalls& calls) {
  const fcgi::Request& request = exchange.request;
  const auto header = HeaderLength(request);
  if (!header.ok()) return ServerError(header.status());
  const Cost cost = ReadingCost(request, *header, MaxBodyBytes(services));
  Reading reading;
  std::optional<inference::ModelMetadataResponse> model;
  if (cost.heavy && request.body_status.ok()) {
    auto description = Describe(exchange, calls);
    if (!description.ok()) return ServerError(description.status());
    model = *std::move(description);
    auto step = exchange.heavy.Begin(cost.bytes, exchange.patience());
    if (!step.ok()) return ServerError(step.status());
    reading.step = *std::move(step);
  }
  const http::StageTimer timer(exchange.times, Stage::kPreprocess);
  const auto body = ReadBody(exchange, MaxBodyBytes(services));
  if (const auto* problem = std::get_if<Problem>(&body)) return *problem;
  auto infer =
      ReadInfer(std::get<Body>(body), *header, model ? &*model : nullptr, exchange.patience());
  if (absl::IsDeadlineExceeded(infer.status())) {
    return ProtocolError(504, Message(infer.status()));
  }
  if (!infer.ok()) return ServerError(infer.status());
  reading.infer = *std::move(infer);
  reading.step.Keep(reading.bytes());
  return reading;
}

std::uint64_t LevelOf(const ModelDescription& model, Priority priority) {
  if (priority == Priority::kHigh) return 1;
  return priority == Priority::kLow ? model.priority_levels : model.default_priority_level;
}

// Sets the request's priority level: the one that the client names in the parameter `priority`, as
// Triton's clients do, or else in X-Priority, but none that is more urgent than its key allows. The
// model is looked at only when that could change anything.
void SetPriority(const Exchange& exchange, const Services& services, backend::ModelCalls& calls,
                 inference::ModelInferRequest& request) {
  constexpr const char* kParameter = "priority";
  const Priority highest =
      exchange.holder == nullptr ? Priority::kHigh : exchange.holder->key.priority;
  const auto named = request.parameters().find(kParameter);
  const bool names = named != request.parameters().end();
  if (names ? highest == Priority::kHigh : exchange.limits.priority == Priority::kNormal) return;
  const auto model = services.catalog.Get(request.model_name(), exchange.limits.deadline);
  if (!model.ok()) {
    request.mutable_parameters()->erase(kParameter);
    return;
  }
  const ModelDescription& description = (*model)->description;
  if (request.model_version().empty()) calls.Keep((*model)->servers);
  if (description.priority_levels == 0) return;  // the server would ignore it
  std::uint64_t level = LevelOf(description, exchange.limits.priority);
  if (names) {
    level =
        named->second.has_uint64_param()
            ? named->second.uint64_param()
            : static_cast<std::uint64_t>(std::max<std::int64_t>(named->second.int64_param(), 0));
    if (level == 0) level = description.default_priority_level;
    level = std::max(level, LevelOf(description, highest));
  }
  backend::SetPriorityLevel(request, level);
}

// Calls the model, and writes its answer.
std::variant<fcgi::Response, Problem> Call(Exchange& exchange, backend::ModelCalls& calls,
                                           Reading& reading) {
  const InferCall& infer = reading.infer;
  absl::StatusOr<grpc::ByteBuffer> bytes;
  {
    const http::StageTimer timer(exchange.times, Stage::kInfer);
    const absl::StatusOr<grpc::ByteBuffer> message = backend::Encode(infer.request, infer.raw);
    bytes = message.ok() ? calls.Infer(*message, exchange.limits) : message;
  }
  if (!bytes.ok()) {
    exchange.report.model_away = absl::IsUnavailable(bytes.status());
    return ServerError(bytes.status());
  }
  const absl::StatusOr<backend::InferAnswer> answer = backend::Decode(*bytes, {});
  if (!answer.ok()) {
    return ProtocolError(
        502, fmt::format("the model server's answer is not sound: {}", Message(answer.status())));
  }
  exchange.report.timed = true;
  exchange.report.version = answer->message().model_version();
  const Patience patience = exchange.patience();
  if (const std::uint64_t cost = WritingCost(*answer, infer); cost > 0) {
    if (reading.step.empty()) {
      auto step = exchange.heavy.Begin(cost, patience);
      if (!step.ok()) return ServerError(step.status());
      reading.step = *std::move(step);
    } else if (const absl::Status status = reading.step.Resume(reading.bytes() + cost, patience);
               !status.ok()) {
      return ServerError(status);
    }
  }
  const http::StageTimer timer(exchange.times, Stage::kPostprocess);
  absl::StatusOr<fcgi::Response> response = WriteInfer(*answer, infer, patience);
  if (!response.ok()) return ServerError(response.status());
  reading.step.KeepUntilLeave(response->body.size());
  return *std::move(response);
}

// Names the request's body as what a crash of this thread is to be blamed on; or refuses it, when
// it was blamed already.
std::optional<Problem> EnterTask(Exchange& exchange, const Services& services, const Route& route) {
  if (!exchange.request.body_status.ok()) return std::nullopt;
  const Digest digest = services.quarantine.DigestOf(exchange.request.body);
  const std::string model = Name(backend::ModelVersion{route.model, route.version});
  if (services.quarantine.Has(digest, model, Clock::now())) return http::Quarantined();
  exchange.thread_slot.task.Store(
      {.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
  return std::nullopt;
}

fcgi::Response Infer(Exchange& exchange, const Services& services, const Route& route) {
  if (const auto problem = EnterTask(exchange, services, route)) return exchange.Fail(*problem);
  if (const absl::Status status = services.client.CheckAdmits(); !status.ok()) {
    exchange.report.model_away = true;
    return exchange.Fail(ServerError(status));
  }
  backend::ModelCalls calls(services.client, route.model, route.version);
  auto read = Read(exchange, services, calls);
  if (const auto* problem = std::get_if<Problem>(&read)) return exchange.Fail(*problem);
  auto& reading = std::get<Reading>(read);
  reading.infer.request.set_model_name(route.model);
  reading.infer.request.set_model_version(route.version);
  SetPriority(exchange, services, calls, reading.infer.request);
  auto answer = Call(exchange, calls, reading);
  if (const auto* problem = std::get_if<Problem>(&answer)) return exchange.Fail(*problem);
  return std::get<fcgi::Response>(std::move(answer));
}

// The same about the model that a route leads to.
Route Along(const Route& route, const backend::ModelVersion& model) {
  return {.to = route.to, .model = model.name, .version = model.version};
}

}  // namespace

fcgi::Response Handle(Exchange& exchange, const Services& services) {
  const fcgi::Request& request = exchange.request;
  Route route = ParseRoute(request.path);
  if (route.to == To::kNotFound) {
    return exchange.Fail(ProtocolError(
        404, fmt::format("there is nothing at {}; there are GET /v2, /v2/health/live, "
                         "/v2/health/ready, /v2/models/MODEL[/versions/VERSION][/ready, "
                         "/config or /stats], and POST .../infer and /v2/repository/index",
                         request.path)));
  }
  if (route.to == To::kForbidden) {
    return exchange.Fail(
        ProtocolError(403,
                      "loading models, shared memory, tracing and logging are for administrators: "
                      "they are not offered over HTTP, only on the model server's own gRPC port"));
  }
  if (const std::string_view allowed = OtherMethodsAllowed(route.to, request.method);
      !allowed.empty()) {
    return exchange.Fail(ProtocolError(http::MethodNotAllowed(request.method, allowed)));
  }
  const std::string name = route.model;
  if (exchange.lead.is_route() && !name.empty()) {
    if (!route.version.empty()) {
      return exchange.Fail(
          ProtocolError(404, fmt::format("{} is a route, which has no versions", name)));
    }
    if (route.to != To::kInfer) {
      const routes::Way& way = exchange.lead.ways.front();
      exchange.asked = {way.model, exchange.lead.name, way.variant};
      route = Along(route, way.model);
    }
  }
  const backend::CallLimits& limits = exchange.limits;
  switch (route.to) {
    case To::kServerMetadata:
      return Answer(exchange, services.client.ServerMetadata(limits));
    case To::kLive:
      return Json(R"({"live":true})");
    case To::kReady:
      return ServerReady(exchange, services);
    case To::kIndex:
      return Index(exchange, services);
    case To::kStatistics:
      return Statistics(exchange, services, route);
    case To::kModelMetadata:
      return Answer(
          exchange,
          backend::ModelCalls(services.client, route.model, route.version).Metadata(limits));
    case To::kModelReady:
      return ModelReady(exchange, services, route, name);
    case To::kModelConfig:
      return ModelConfig(exchange, services, route);
    default:
      if (!exchange.lead.is_route()) return Infer(exchange, services, route);
      return http::AnswerByLead(exchange, services, [&](const backend::ModelVersion& model) {
        return Infer(exchange, services, Along(route, model));
      });
  }
}

}  // namespace inferpool::kserve_http
