#include "worker/kserve_http/bridge.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <variant>

#include "shared/base/ascii.h"
#include "shared/base/http_status.h"
#include "shared/base/json_text.h"
#include "shared/base/utf8.h"
#include "worker/kserve_http/infer_request.h"
#include "worker/kserve_http/infer_response.h"
#include "worker/kserve_http/inflate.h"
#include "worker/kserve_http/json_header.h"
#include "worker/kserve_http/message_json.h"

namespace inferpool::rest {
namespace {

using To = Route::To;

fcgi::Response Json(std::string body, int status = 200) {
  fcgi::Response response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

template <typename Message>
fcgi::Response Answer(const absl::StatusOr<Message>& message) {
  return message.ok() ? Json(ToJson(*message)) : Error(message.status());
}

// Sets the time between its construction and its end.
class Timer {
 public:
  explicit Timer(std::optional<Times::Duration>& time) : time_(time) {}
  ~Timer() { time_ = std::chrono::duration_cast<Times::Duration>(Clock::now() - start_); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  std::optional<Times::Duration>& time_;
  const TimePoint start_ = Clock::now();
};

// Empty when the method fits the route.
std::string_view OtherMethodsAllowed(To to, std::string_view method) {
  const bool reads = method == "GET" || method == "HEAD";
  if (to == To::kInfer) return method == "POST" ? "" : "POST";
  if (to == To::kIndex) return reads || method == "POST" ? "" : "GET, HEAD, POST";
  return reads ? "" : "GET, HEAD";
}

// Request::body_status (fcgi/wire/request.h).
int BodyErrorStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return 411;
    case absl::StatusCode::kOutOfRange:
      return 413;
    case absl::StatusCode::kResourceExhausted:
      return 503;
    case absl::StatusCode::kUnimplemented:
      return 415;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    case absl::StatusCode::kCancelled:
      return kClientLeft;
    default:
      return 400;
  }
}

// Empty: none.
std::string EncodingOf(const fcgi::Request& request) {
  std::string encoding = LowerCase(request.Header("content-encoding"));
  return encoding == "identity" ? "" : encoding;
}

Patience PatienceOf(const Call& call) {
  return {.deadline = call.limits.deadline, .departed = call.limits.departed};
}

// The body, unpacked to at most so many bytes. An error's code is one that BodyErrorStatus knows.
absl::StatusOr<Body> ReadBody(const Call& call, std::size_t most) {
  RETURN_IF_ERROR(call.request.body_status);
  if (const std::string encoding = EncodingOf(call.request); !encoding.empty()) {
    auto text = Inflate(call.request.body, encoding, most, PatienceOf(call));
    RETURN_IF_ERROR(text.status());
    const auto owner = std::make_shared<const std::string>(*std::move(text));
    return Body{*owner, owner};
  }
  return Body{call.request.body, call.request.body_bytes};
}

// Of the header Inference-Header-Content-Length; none without it.
absl::StatusOr<std::optional<std::size_t>> HeaderLength(const fcgi::Request& request) {
  const std::string_view text = request.Header("inference-header-content-length");
  if (text.empty()) return std::nullopt;
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size()) {
    return absl::InvalidArgumentError("Inference-Header-Content-Length is no number");
  }
  return length;
}

// Takes away what the client may not hear of.
template <typename Entries>
void Hide(const Call& call, Entries& entries) {
  if (call.may_hear_of == nullptr) return;
  entries.erase(
      std::remove_if(entries.begin(), entries.end(),
                     [&call](const auto& entry) { return !call.may_hear_of(entry.name()); }),
      entries.end());
}

fcgi::Response ServerReady(const Call& call, const backend::Client& client) {
  // Who asks needs no key, so it must not hold a thread for long.
  constexpr std::chrono::milliseconds kPatience{500};
  if (!client.CheckAdmits().ok()) return Error(503, "the model server is not ready");
  const absl::Status ready =
      client.ServerReady(Deadline(std::min(call.limits.deadline.at(), Clock::now() + kPatience)));
  if (ready.ok()) return Json(R"({"ready":true})");
  return Error(503, "the model server is not ready");
}

fcgi::Response ModelReady(const Route& route, const Call& call, const backend::Client& client) {
  const auto answer = client.ModelReady(route.model, route.version, call.limits);
  if (!answer.ok()) return Error(answer.status());
  if (!answer->ready()) {
    const std::string version =
        route.version.empty() ? "" : fmt::format(" version {}", route.version);
    return Error(400, fmt::format("model {}{} is not ready", route.model, version));
  }
  return Json(fmt::format(R"({{"name":{},"ready":true}})", QuotedJson(route.model)));
}

fcgi::Response Index(const Call& call, const backend::Client& client) {
  bool ready = false;
  // Triton's own client names no length when it has nothing to send.
  const bool has_body = !absl::IsFailedPrecondition(call.request.body_status);
  if (call.request.method == "POST" && has_body) {
    constexpr std::size_t kMost = std::size_t{64} << 10;  // as nginx has it for what is not packed
    const absl::StatusOr<Body> body = ReadBody(call, kMost);
    if (!body.ok()) return Error(BodyErrorStatus(body.status()), Message(body.status()));
    if (!body->bytes.empty()) {
      const absl::StatusOr<JsonHeader> json = ReadJsonHeader(body->bytes);
      if (!json.ok()) return Error(json.status());
      const Json::Value& wanted = json->root["ready"];
      if (!wanted.isNull() && !wanted.isBool()) {
        return Error(400, "\"ready\" is neither true nor false");
      }
      ready = wanted.isBool() && wanted.asBool();
    }
  }
  auto answer = client.RepositoryIndex(ready, call.limits);
  if (answer.ok()) Hide(call, *answer->mutable_models());
  return Answer(answer);
}

fcgi::Response Statistics(const Route& route, const Call& call, const backend::Client& client) {
  auto answer = client.ModelStatistics(route.model, route.version, call.limits);
  if (answer.ok()) Hide(call, *answer->mutable_model_stats());
  return Answer(answer);
}

// More than that is heavy: some 100 ms of a processor.
constexpr std::size_t kLightJson = std::size_t{2} << 20;
constexpr std::size_t kLightOutputs = std::size_t{4} << 20;

// What reading an inference request costs at most.
struct Cost {
  std::uint64_t bytes;
  bool heavy;
};

Cost ReadingCost(const Call& call, const std::optional<std::size_t>& header) {
  constexpr std::uint64_t kRawPerJson = 4;  // elements.h
  const std::string encoding = EncodingOf(call.request);
  const std::uint64_t unpacked =
      encoding.empty() ? 0 : InflatedBytes(call.request.body, encoding, call.body_bytes);
  const std::uint64_t body = encoding.empty() ? call.request.body.size() : unpacked;
  const std::uint64_t json = std::min<std::uint64_t>(body, header.value_or(body));
  return {.bytes = unpacked + kRawPerJson * json, .heavy = std::max(unpacked, json) > kLightJson};
}

// The most bytes that the outputs take as JSON, or 0 when they are not worth counting.
std::uint64_t WritingCost(const backend::InferAnswer& answer, const InferCall& infer) {
  constexpr std::uint64_t kJsonPerRaw = 3;  // numbers with all their digits
  std::uint64_t raw = 0;
  for (const TensorView& tensor : answer.tensors()) {
    if (!infer.IsBinary(std::string(tensor.name))) raw += tensor.data.size();
  }
  return raw > kLightOutputs ? raw * kJsonPerRaw : 0;
}

// What the model's server says of it, so that a large body is not read for a model that does not
// exist or does not take it. Nothing of shapes unless the server says what they mean: elsewhere
// than in Triton's protocol with its configurations they may lack the batch.
absl::StatusOr<inference::ModelMetadataResponse> AskOfModel(const Route& route, const Call& call,
                                                            const backend::Client& client) {
  auto model = client.ModelMetadata(route.model, route.version, call.limits);
  if (absl::IsUnimplemented(model.status())) return inference::ModelMetadataResponse();
  if (!model.ok() || client.ModelConfig(route.model, route.version, call.limits).ok()) return model;
  for (auto& input : *model->mutable_inputs()) input.clear_shape();
  return model;
}

// An inference request, read, and what of the heavy work it keeps.
struct Reading {
  InferCall infer;
  HeavyStep step;

  std::uint64_t bytes() const {
    return std::accumulate(
        infer.raw.begin(), infer.raw.end(), std::uint64_t{0},
        [](std::uint64_t sum, const auto& raw) { return sum + raw.data.size(); });
  }
};

std::variant<Reading, fcgi::Response> Read(const Route& route, const Call& call,
                                           const backend::Client& client, Times& times) {
  const Patience patience = PatienceOf(call);
  const auto header = HeaderLength(call.request);
  if (!header.ok()) return Error(header.status());
  const Cost cost = ReadingCost(call, *header);
  Reading reading;
  std::optional<inference::ModelMetadataResponse> model;
  if (cost.heavy && call.request.body_status.ok()) {
    auto asked = AskOfModel(route, call, client);
    if (!asked.ok()) return Error(asked.status());
    model = *std::move(asked);
    auto step = call.heavy.Begin(cost.bytes, patience);
    if (!step.ok()) return Error(step.status());
    reading.step = *std::move(step);
  }
  const Timer timer(times.decode);
  const absl::StatusOr<Body> body = ReadBody(call, call.body_bytes);
  if (!body.ok()) return Error(BodyErrorStatus(body.status()), Message(body.status()));
  auto infer = ReadInfer(*body, *header, model ? &*model : nullptr, patience);
  if (absl::IsDeadlineExceeded(infer.status())) return Error(504, Message(infer.status()));
  if (!infer.ok()) return Error(infer.status());
  reading.infer = *std::move(infer);
  reading.step.Keep(reading.bytes());
  return reading;
}

// Calls, and translates the answer.
fcgi::Response Ask(Reading& reading, const Call& call, const backend::Client& client,
                   Times& times) {
  const InferCall& infer = reading.infer;
  absl::StatusOr<grpc::ByteBuffer> bytes;
  {
    const Timer timer(times.infer);
    const absl::StatusOr<grpc::ByteBuffer> message = backend::Encode(infer.request, infer.raw);
    bytes = message.ok() ? client.Infer(*message, call.limits) : message;
  }
  if (!bytes.ok()) return Error(bytes.status());
  const absl::StatusOr<backend::InferAnswer> answer = backend::Decode(*bytes, {});
  if (!answer.ok()) {
    return Error(
        502, fmt::format("the model server's answer is not sound: {}", Message(answer.status())));
  }
  const Patience patience = PatienceOf(call);
  if (const std::uint64_t cost = WritingCost(*answer, infer); cost > 0) {
    if (reading.step.empty()) {
      auto step = call.heavy.Begin(cost, patience);
      if (!step.ok()) return Error(step.status());
      reading.step = *std::move(step);
    } else if (const absl::Status status = reading.step.Resume(reading.bytes() + cost, patience);
               !status.ok()) {
      return Error(status);
    }
  }
  const Timer timer(times.encode);
  absl::StatusOr<fcgi::Response> response = WriteInfer(*answer, infer, patience);
  if (!response.ok()) return Error(response.status());
  reading.step.KeepUntilLeave(response->body.size());
  return *std::move(response);
}

fcgi::Response Infer(const Route& route, const Call& call, const backend::Client& client,
                     Times& times) {
  if (const absl::Status status = client.CheckAdmits(); !status.ok()) return Error(status);
  auto read = Read(route, call, client, times);
  if (auto* problem = std::get_if<fcgi::Response>(&read)) return std::move(*problem);
  auto& reading = std::get<Reading>(read);
  reading.infer.request.set_model_name(route.model);
  reading.infer.request.set_model_version(route.version);
  if (call.amend != nullptr) call.amend(reading.infer.request);
  return Ask(reading, call, client, times);
}

// What gRPC says for want of a connection names addresses, which are no client's business.
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

}  // namespace

fcgi::Response Serve(const Route& route, const Call& call, const backend::Client& client,
                     Times& times) {
  if (route.to == To::kNowhere) {
    return Error(404, fmt::format("there is nothing at {}; there are GET /v2, /v2/health/live, "
                                  "/v2/health/ready, /v2/models/MODEL[/versions/VERSION][/ready, "
                                  "/config or /stats], and POST .../infer and /v2/repository/index",
                                  call.request.path));
  }
  if (route.to == To::kAdministrators) {
    return Error(403,
                 "loading models, shared memory, tracing and logging are for administrators: "
                 "they are not offered over HTTP, only on the model server's own gRPC port");
  }
  if (const std::string_view allowed = OtherMethodsAllowed(route.to, call.request.method);
      !allowed.empty()) {
    fcgi::Response response =
        Error(405, fmt::format("{} is not allowed here, {} is", call.request.method, allowed));
    response.headers.emplace_back("Allow", allowed);
    return response;
  }
  const backend::CallLimits& limits = call.limits;
  switch (route.to) {
    case To::kServerMetadata:
      return Answer(client.ServerMetadata(limits));
    case To::kLive:
      return Json(R"({"live":true})");
    case To::kReady:
      return ServerReady(call, client);
    case To::kIndex:
      return Index(call, client);
    case To::kStatistics:
      return Statistics(route, call, client);
    case To::kModelMetadata:
      return Answer(client.ModelMetadata(route.model, route.version, limits));
    case To::kModelReady:
      return ModelReady(route, call, client);
    case To::kModelConfig: {
      const auto answer = client.ModelConfig(route.model, route.version, limits);
      return answer.ok() ? Json(ToJson(answer->config())) : Error(answer.status());
    }
    default:
      return Infer(route, call, client, times);
  }
}

fcgi::Response Error(int status, std::string_view text) {
  constexpr std::size_t kMostText = 1'000;  // it may quote what the client sent
  fcgi::Response response =
      Json(fmt::format("{{\"error\":{}}}", QuotedJson(Utf8Text(text, kMostText))), status);
  // A model server that is back is found within a second (worker/backend/rpc/prober.h).
  if (status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

fcgi::Response Error(const absl::Status& status) {
  const std::string_view text = WithoutCall(Message(status));
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return Error(404, text);
    case absl::StatusCode::kCancelled:
      return Error(499, "the client left before it had its answer");
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      return Error(
          503, NamesAnAddress(text) ? "the model server cannot be reached now; try again" : text);
    case absl::StatusCode::kDeadlineExceeded:
      return Error(504, "the model did not answer within the request's time");
    case absl::StatusCode::kUnimplemented:
      return Error(501, text);
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return Error(500, text);
    default:
      return Error(400, text);
  }
}

}  // namespace inferpool::rest
