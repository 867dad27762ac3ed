#include "worker/api/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "shared/log.h"
#include "worker/api/answer.h"
#include "worker/api/faults.h"
#include "worker/api/models.h"
#include "worker/api/multipart.h"
#include "worker/api/parameters.h"
#include "worker/api/predictor.h"
#include "worker/api/problem.h"
#include "worker/api/request_id.h"
#include "worker/api/timings.h"

namespace inferpool::api {
namespace {

constexpr std::size_t kMaxModelName = 128;

fcgi::Response Json(std::string body) {
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

// The rest of `path` after `prefix`, one segment; empty when the path is another.
std::string_view Segment(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  return path.find('/') == std::string_view::npos ? path : std::string_view();
}

// Printable ASCII without '/'. Nobody needs to be asked for other names, and gRPC could not carry
// some of them.
bool CanBeModelName(std::string_view name) {
  return name.size() <= kMaxModelName &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
}

// The picture in the request's body.
std::variant<std::string_view, Problem> FindPicture(const fcgi::Request& request) {
  if (!request.body_status.ok()) return BodyProblem(request.body_status);
  const std::string type = MediaType(request.content_type);
  std::string_view picture = request.body;
  if (type == "multipart/form-data") {
    const auto part = FindPart(request.content_type, request.body, "image");
    if (!part.ok()) return BadRequest(std::string(Message(part.status())));
    picture = *part;
  } else if (!type.empty() && type != "application/octet-stream" && !type.starts_with("image/")) {
    return UnsupportedMedia(fmt::format(
        "Content-Type is {}; send multipart/form-data with a field \"image\", or the picture "
        "itself as image/jpeg, image/png, image/webp or application/octet-stream",
        type));
  }
  if (picture.empty())
    return BadRequest("the request has no image: the body, or the field \"image\", is empty");
  return picture;
}

}  // namespace

struct Api::Exchange {
  const fcgi::Request& request;
  Lane& lane;
  std::string id;
  Timings timings;

  fcgi::Response Fail(const Problem& problem) const { return Render(problem, id); }
  Deadline Until(int seconds) const {
    return Deadline(request.accepted + std::chrono::seconds(seconds));
  }
};

Api::Api(const Config& config, const backend::Client& client, backend::Inference& inference,
         backend::Catalog& catalog, const Quarantine& quarantine)
    : config_(config),
      client_(client),
      inference_(inference),
      catalog_(catalog),
      quarantine_(quarantine) {}

fcgi::Response Api::Handle(const fcgi::Request& request, Lane& lane) const {
  Exchange exchange{request, lane, RequestId(request.request_id), {}};
  Timings& timings = exchange.timings;
  timings.Set(Stage::kQueue, request.queue);
  timings.Set(Stage::kRead, request.read);
  fcgi::Response response;
  try {
    response = Route(exchange);
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

  lane.CountStatus(response.status);
  lane.CountBytes(request.body.size(), response.body.size());
  for (std::size_t i = 0; i < kStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (const auto& duration = timings.Get(stage)) lane.CountStage(stage, *duration);
  }
  Log(exchange, response);
  return response;
}

fcgi::Response Api::Route(Exchange& exchange) const {
  const fcgi::Request& request = exchange.request;
  if (absl::IsResourceExhausted(request.body_status)) {
    return exchange.Fail(BodyProblem(request.body_status));
  }
  const std::string_view path = request.path;
  const bool reads = request.method == "GET" || request.method == "HEAD";
  for (const std::string_view prefix : {"/v1/predict/", "/predict/"}) {
    if (const std::string_view model = Segment(path, prefix); !model.empty()) {
      if (request.method != "POST") {
        return exchange.Fail(MethodNotAllowed(request.method, "POST"));
      }
      return Predict(exchange, PercentDecode(model));
    }
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

fcgi::Response Api::Predict(Exchange& exchange, const std::string& model) const {
  if (!CanBeModelName(model)) {
    return exchange.Fail(BackendProblem(absl::NotFoundError(""), model));
  }
  const auto parameters = ParseParameters(exchange.request.query, config_.predict);
  if (const auto* problem = std::get_if<Problem>(&parameters)) return exchange.Fail(*problem);
  const auto picture = FindPicture(exchange.request);
  if (const auto* problem = std::get_if<Problem>(&picture)) return exchange.Fail(*problem);

  const auto& bytes = std::get<std::string_view>(picture);
  const Digest digest = DigestOf(bytes);
  if (quarantine_.Has(digest, model, Clock::now())) return exchange.Fail(Quarantined());
  // From here on, a crash is this picture's doing.
  exchange.lane.task.Store(
      {.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
  InjectFault(bytes);

  const auto& wanted = std::get<PredictParameters>(parameters);
  const auto prediction =
      Predictor(config_, inference_, catalog_)
          .Predict(model, bytes, wanted,
                   {exchange.Until(config_.timeouts.request_s), exchange.request.departed},
                   exchange.timings);
  if (const auto* problem = std::get_if<Problem>(&prediction)) return exchange.Fail(*problem);
  exchange.timings.Set(Stage::kTotal, std::chrono::duration_cast<Timings::Duration>(
                                          Clock::now() - exchange.request.accepted));
  return Json(
      ToJson(std::get<Prediction>(prediction), wanted.normalized, exchange.timings, exchange.id));
}

fcgi::Response Api::ListModels(Exchange& exchange) const {
  const Deadline deadline = exchange.Until(config_.timeouts.request_s);
  const auto names = client_.ReadyModels(deadline);
  if (!names.ok()) return exchange.Fail(BackendProblem(names.status(), ""));
  std::vector<std::shared_ptr<const backend::Model>> models;
  for (const std::string& name : *names) {
    auto model = catalog_.Get(name, deadline);
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
  const auto known = catalog_.Get(model, exchange.Until(config_.timeouts.request_s));
  if (!known.ok()) return exchange.Fail(BackendProblem(known.status(), model));
  return Json(ToJson(**known) + "\n");
}

void Api::Log(const Exchange& exchange, const fcgi::Response& response) const {
  const auto total = exchange.timings.Get(Stage::kTotal).value_or(Timings::Duration(0));
  const bool slow =
      config_.log.slow_ms > 0 && total >= std::chrono::milliseconds(config_.log.slow_ms);
  if (!slow && !config_.log.access) return;
  const auto write = slow ? &log::Warning : &log::Info;
  write(slow ? "slow request" : "request", {{"request_id", exchange.id},
                                            {"client", exchange.request.client},
                                            {"method", exchange.request.method},
                                            {"path", exchange.request.path},
                                            {"status", response.status},
                                            {"bytes_in", exchange.request.body.size()},
                                            {"bytes_out", response.body.size()},
                                            {"total_ms", static_cast<double>(total.count()) / 1000},
                                            {"stages", exchange.timings.ServerTiming()}});
}

}  // namespace inferpool::api
