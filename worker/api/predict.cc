#include "worker/api/predict.h"

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "shared/vision/decode.h"
#include "shared/vision/header.h"
#include "worker/api/answer.h"
#include "worker/api/cache.h"
#include "worker/api/faults.h"
#include "worker/api/picture_input.h"
#include "worker/vision/draw.h"
#include "worker/vision/encode.h"

namespace inferpool::api {
namespace {

struct Drawing {
  cv::Mat& pixels;
  const std::vector<std::string>& class_names;

  absl::Status operator()(const vision::Detections& detections) const {
    return vision::Draw(pixels, detections, class_names);
  }
  absl::Status operator()(const vision::Classification& classification) const {
    return vision::Draw(pixels, classification, class_names);
  }
  absl::Status operator()(const vision::Embedding&) const {
    return absl::UnimplementedError("an embedding cannot be drawn; ask for application/json");
  }
};

Problem DrawProblem(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return Overloaded(std::string(Message(status)));
  return NotAcceptable(std::string(Message(status)));
}

// What would be the same for another request: a drawn picture, or the JSON without what is this
// request's own.
using Content = std::variant<CachedAnswer, Problem>;

// The picture with what was found in it, as `output` says.
Content Draw(std::string_view picture, Prediction& prediction, Output output) {
  // It may have been decoded at a smaller scale, or by the model server.
  cv::Mat& pixels = prediction.pixels;
  if (pixels.size() != prediction.picture) {
    const auto header = vision::ReadHeader(picture);
    if (!header.ok()) return PictureProblem(header.status());
    absl::StatusOr<cv::Mat> decoded = vision::Decode(picture, *header);
    if (!decoded.ok()) return PictureProblem(decoded.status());
    pixels = *std::move(decoded);
  }
  const absl::Status drawn =
      std::visit(Drawing{pixels, prediction.model->description.class_names}, prediction.result);
  if (!drawn.ok()) return DrawProblem(drawn);
  absl::StatusOr<std::string> file = vision::EncodePicture(
      pixels, output == Output::kPng ? vision::Encoding::kPng : vision::Encoding::kJpeg);
  if (!file.ok()) return DrawProblem(file.status());
  return CachedAnswer{std::string(ContentType(output)), *std::move(file)};
}

struct Question {
  const std::string& model;
  std::string_view picture;
  const PredictParameters& parameters;
  Output output;
};

struct Computed {
  Content content;
  std::string version;  // of the model that answered
};

Computed Compute(Exchange& exchange, const Services& services, const Question& asked) {
  auto predicted = PredictPicture(exchange, services, asked.model, asked.picture, asked.parameters,
                                  exchange.lane.task, exchange.timings);
  if (auto* problem = std::get_if<Problem>(&predicted)) return {std::move(*problem), ""};
  auto& prediction = std::get<Prediction>(predicted);
  if (asked.output != Output::kJson) {
    return {Draw(asked.picture, prediction, asked.output), prediction.version};
  }
  return {CachedAnswer{std::string(ContentType(asked.output)),
                       Members(prediction, asked.parameters.normalized)},
          prediction.version};
}

struct Looked {
  Content content;
  std::string_view outcome;  // X-Cache
};

Looked LookOrCompute(Exchange& exchange, const Services& services, const Question& asked) {
  Cache& cache = *services.cache;
  const auto model = services.catalog.Get(asked.model, exchange.limits.deadline);
  std::optional<CacheKey> key;
  if (services.quarantine.Has(DigestOf(asked.picture), asked.model, Clock::now())) {
    return {Quarantined(), "MISS"};
  }
  if (model.ok()) {
    key = cache.keys.For(asked.picture, *model, asked.parameters, ContentType(asked.output));
    if (auto found = cache.answers.Find(*key, std::chrono::system_clock::now())) {
      cache.counts.hits.fetch_add(1, std::memory_order_relaxed);
      return {*std::move(found), "HIT"};
    }
  }
  cache.counts.misses.fetch_add(1, std::memory_order_relaxed);
  Computed computed = Compute(exchange, services, asked);
  const auto* answer = std::get_if<CachedAnswer>(&computed.content);
  // Not when the model was replaced since we asked for its description.
  if (key && answer != nullptr && computed.version == (*model)->description.version) {
    cache.answers.Store(*key, *answer, std::chrono::system_clock::now());
  }
  return {std::move(computed.content), "MISS"};
}

fcgi::Response Finish(Exchange& exchange, Content content, Output output) {
  if (const auto* problem = std::get_if<Problem>(&content)) return exchange.Fail(*problem);
  auto& answer = std::get<CachedAnswer>(content);
  if (output == Output::kJson) {
    exchange.timings.Set(Stage::kTotal, std::chrono::duration_cast<Timings::Duration>(
                                            Clock::now() - exchange.request.accepted));
    return Json(Complete(answer.body, exchange.timings, exchange.id));
  }
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", std::move(answer.content_type));
  response.body = std::move(answer.body);
  return response;
}

}  // namespace

std::variant<Prediction, Problem> PredictPicture(const Exchange& exchange, const Services& services,
                                                 const std::string& model, std::string_view picture,
                                                 const PredictParameters& parameters,
                                                 Seqlock<Task>& task, Timings& timings) {
  const Digest digest = DigestOf(picture);
  if (services.quarantine.Has(digest, model, Clock::now())) return Quarantined();
  task.Store({.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
  InjectFault(picture);
  return Predictor(services.config, services.inference, services.catalog)
      .Predict(model, picture, parameters, exchange.limits, timings);
}

fcgi::Response Predict(Exchange& exchange, const Services& services, const std::string& model) {
  if (!CanBeModelName(model)) {
    return exchange.Fail(BackendProblem(absl::NotFoundError(""), model));
  }
  const auto parameters = ParseParameters(exchange.request.query, services.config.predict);
  if (const auto* problem = std::get_if<Problem>(&parameters)) return exchange.Fail(*problem);
  const auto& wanted = std::get<PredictParameters>(parameters);
  PictureInputs inputs;
  const PictureInput picture = ReadPicture(exchange.request, inputs);
  if (const auto* problem = std::get_if<Problem>(&picture)) return exchange.Fail(*problem);

  const Question asked{
      .model = model,
      .picture = std::get<std::string_view>(picture),
      .parameters = wanted,
      .output = wanted.render.value_or(Negotiate(exchange.request.Header("accept")))};
  if (services.cache == nullptr) {
    return Finish(exchange, Compute(exchange, services, asked).content, asked.output);
  }
  Looked looked = LookOrCompute(exchange, services, asked);
  fcgi::Response response = Finish(exchange, std::move(looked.content), asked.output);
  response.headers.emplace_back("X-Cache", looked.outcome);
  return response;
}

}  // namespace inferpool::api
