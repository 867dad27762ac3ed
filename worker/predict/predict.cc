#include "worker/predict/predict.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/http/picture_input.h"
#include "worker/predict/answer.h"
#include "worker/predict/cache.h"
#include "worker/predict/faults.h"
#include "worker/predict/picture_cost.h"
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

struct Question {
  const std::string& model;
  std::string_view picture;
  const PredictParameters& parameters;
  const std::vector<Output>& outputs;  // the best first
};

vision::Encoding EncodingOf(Output output) {
  return output == Output::kPng ? vision::Encoding::kPng : vision::Encoding::kJpeg;
}

bool CanBe(Output output, const Prediction& prediction) {
  return output == Output::kJson ||
         (!std::holds_alternative<vision::Embedding>(prediction.result) &&
          vision::CanEncode(prediction.picture, EncodingOf(output)));
}

// The best that can be; the best when none can, for the reason that it gives.
Output Choose(const std::vector<Output>& outputs, const Prediction& prediction) {
  const auto found =
      std::ranges::find_if(outputs, [&](Output output) { return CanBe(output, prediction); });
  return found == outputs.end() ? outputs.front() : *found;
}

// `step`: that of the prediction, which goes on.
absl::Status BeginDrawing(Exchange& exchange, const PictureCost& cost, HeavyStep& step) {
  if (!step.empty()) return step.Resume(cost.bytes, exchange.patience());
  auto begun = BeginStep(exchange.heavy, cost, exchange.patience());
  RETURN_IF_ERROR(begun.status());
  step = *std::move(begun);
  return absl::OkStatus();
}

// The picture with what was found in it.
Content Draw(Exchange& exchange, const Question& asked, Prediction& prediction, Output output) {
  const auto header = vision::ReadHeader(asked.picture);
  if (!header.ok()) return PictureProblem(header.status());
  // It may have been decoded at a smaller scale, or by the model server.
  cv::Mat& pixels = prediction.pixels;
  const bool again = pixels.size() != prediction.picture;
  const PictureCost cost =
      DrawCost(prediction.picture, again ? DecodeCost(asked.picture, *header, 1) : PictureCost{});
  if (const absl::Status status = BeginDrawing(exchange, cost, prediction.step); !status.ok()) {
    return HeavyProblem(status);
  }
  const StageTimer timer(exchange.timings, Stage::kDraw);
  if (again) {
    exchange.lane.NewStep(Clock::now());
    absl::StatusOr<cv::Mat> decoded =
        vision::Decode(asked.picture, *header, /*reduction=*/1, exchange.limits.deadline);
    if (absl::IsDeadlineExceeded(decoded.status())) {
      return BackendProblem(decoded.status(), asked.model);
    }
    if (!decoded.ok()) return PictureProblem(decoded.status());
    pixels = *std::move(decoded);
  }
  const absl::Status drawn =
      std::visit(Drawing{pixels, prediction.model->description.class_names}, prediction.result);
  if (!drawn.ok()) return DrawProblem(drawn);
  if (auto problem = TooLate(exchange.limits, asked.model)) return *std::move(problem);
  exchange.lane.NewStep(Clock::now());
  absl::StatusOr<std::string> file = vision::EncodePicture(pixels, EncodingOf(output));
  if (!file.ok()) return DrawProblem(file.status());
  if (auto problem = TooLate(exchange.limits, asked.model)) return *std::move(problem);
  return CachedAnswer{std::string(ContentType(output)), *std::move(file)};
}

struct Computed {
  Content content;
  std::string version;  // of the model that answered
};

Computed Compute(Exchange& exchange, const Services& services, const Question& asked) {
  const bool may_draw =
      std::ranges::any_of(asked.outputs, [](Output output) { return output != Output::kJson; });
  auto predicted = PredictPicture(exchange, services, asked.model, asked.picture, asked.parameters,
                                  may_draw, exchange.lane.task, exchange.timings);
  if (auto* problem = std::get_if<Problem>(&predicted)) return {std::move(*problem), ""};
  auto& prediction = std::get<Prediction>(predicted);
  const Output output = Choose(asked.outputs, prediction);
  if (output != Output::kJson) {
    return {Draw(exchange, asked, prediction, output), prediction.version};
  }
  return {CachedAnswer{std::string(ContentType(output)),
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
  const std::string_view best = ContentType(asked.outputs.front());
  if (model.ok()) {
    key = cache.keys.For(asked.picture, *model, asked.parameters, best);
    if (auto found = cache.answers.Find(*key, std::chrono::system_clock::now())) {
      // Without an answer PredictPicture asks.
      const Digest digest = services.quarantine.DigestOf(asked.picture);
      if (services.quarantine.Has(digest, asked.model, Clock::now())) {
        return {Quarantined(), "MISS"};
      }
      cache.counts.hits.fetch_add(1, std::memory_order_relaxed);
      return {*std::move(found), "HIT"};
    }
  }
  cache.counts.misses.fetch_add(1, std::memory_order_relaxed);
  Computed computed = Compute(exchange, services, asked);
  const auto* answer = std::get_if<CachedAnswer>(&computed.content);
  // Not when the model was replaced since we asked for its description, nor when the answer is not
  // what others who like that best may accept.
  if (key && answer != nullptr && answer->content_type == best &&
      computed.version == (*model)->description.version) {
    cache.answers.Store(*key, *answer, std::chrono::system_clock::now());
  }
  return {std::move(computed.content), "MISS"};
}

fcgi::Response Finish(Exchange& exchange, Content content) {
  if (const auto* problem = std::get_if<Problem>(&content)) return exchange.Fail(*problem);
  auto& answer = std::get<CachedAnswer>(content);
  if (answer.content_type == ContentType(Output::kJson)) {
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
                                                 bool keep_pixels, Seqlock<Task>& task,
                                                 Timings& timings) {
  const Digest digest = services.quarantine.DigestOf(picture);
  if (services.quarantine.Has(digest, model, Clock::now())) return Quarantined();
  task.Store({.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
  exchange.lane.NewStep(Clock::now());
  InjectFault(picture);
  return Predictor(services.config, services.inference, services.catalog)
      .Predict(model, picture, parameters, keep_pixels, exchange.heavy, exchange.limits, timings);
}

fcgi::Response Predict(Exchange& exchange, const Services& services, const std::string& model) {
  if (!CanBeModelName(model)) {
    return exchange.Fail(BackendProblem(absl::NotFoundError(""), model));
  }
  const auto parameters = ParseParameters(exchange.request.query, services.config.predict);
  if (const auto* problem = std::get_if<Problem>(&parameters)) return exchange.Fail(*problem);
  const auto& wanted = std::get<PredictParameters>(parameters);
  PictureInputs inputs;
  auto reading = BeginStep(exchange.heavy, ReadingCost(exchange.request), exchange.patience());
  if (!reading.ok()) return exchange.Fail(HeavyProblem(reading.status()));
  const PictureInput picture = ReadPicture(exchange.request, inputs);
  *reading = HeavyStep();
  if (const auto* problem = std::get_if<Problem>(&picture)) return exchange.Fail(*problem);

  const std::vector<Output> outputs =
      wanted.render ? std::vector{*wanted.render} : Negotiate(exchange.request.Header("accept"));
  const Question asked{.model = model,
                       .picture = std::get<std::string_view>(picture),
                       .parameters = wanted,
                       .outputs = outputs};
  if (services.cache == nullptr) {
    return Finish(exchange, Compute(exchange, services, asked).content);
  }
  Looked looked = LookOrCompute(exchange, services, asked);
  fcgi::Response response = Finish(exchange, std::move(looked.content));
  response.headers.emplace_back("X-Cache", looked.outcome);
  return response;
}

}  // namespace inferpool::api
