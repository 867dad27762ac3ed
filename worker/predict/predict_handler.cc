#include "worker/predict/predict_handler.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/http/picture_input.h"
#include "worker/predict/answer.h"
#include "worker/predict/cache.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/shadow.h"
#include "worker/vision/draw.h"
#include "worker/vision/encode.h"

namespace inferpool::predict {
namespace {

struct Drawing {
  cv::Mat& pixels;
  const std::vector<std::string>& class_names;

  absl::Status operator()(const vision::Detections& detections) const {
    return vision::Draw(pixels, detections, class_names);
  }
  absl::Status operator()(const vision::TextLines& lines) const {
    return vision::Draw(pixels, lines);
  }
  absl::Status operator()(const vision::Classification& classification) const {
    return vision::Draw(pixels, classification, class_names);
  }
  absl::Status operator()(const vision::Embedding&) const {
    return absl::UnimplementedError("an embedding cannot be drawn; ask for application/json");
  }
};

http::Problem DrawProblem(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return http::Overloaded(std::string(Message(status)));
  return http::NotAcceptable(std::string(Message(status)));
}

// What would be the same for another request: a drawn picture, or the JSON without what is this
// request's own.
using Content = std::variant<CachedAnswer, http::Problem>;

struct Question {
  const backend::ModelVersion& model;
  std::string_view picture;
  const http::PredictParameters& parameters;
  const std::vector<http::Output>& outputs;  // the best first
  std::shared_ptr<const backend::Model> known = nullptr;
  const Answerer& answerer;  // empty: InferPicture
};

vision::Encoding EncodingOf(http::Output output) {
  return output == http::Output::kPng ? vision::Encoding::kPng : vision::Encoding::kJpeg;
}

bool CanBe(http::Output output, const Prediction& prediction) {
  return output == http::Output::kJson ||
         (!std::holds_alternative<vision::Embedding>(prediction.result) &&
          vision::CanEncode(prediction.picture, EncodingOf(output)));
}

// The best that can be; the best when none can, for the reason that it gives.
http::Output Choose(const std::vector<http::Output>& outputs, const Prediction& prediction) {
  const auto found =
      std::ranges::find_if(outputs, [&](http::Output output) { return CanBe(output, prediction); });
  return found == outputs.end() ? outputs.front() : *found;
}

// `step`: that of the prediction, which goes on.
absl::Status BeginDrawing(http::Exchange& exchange, const PictureCost& cost, HeavyStep& step) {
  if (!step.empty()) return step.Resume(cost.bytes, exchange.patience());
  ASSIGN_OR_RETURN(step, BeginStep(exchange.heavy, cost, exchange.patience()));
  return absl::OkStatus();
}

// The picture with what was found in it.
Content Draw(http::Exchange& exchange, const Question& asked, Prediction& prediction,
             http::Output output) {
  const auto header = vision::ReadHeader(asked.picture);
  if (!header.ok()) return http::PictureProblem(header.status());
  // It may have been decoded at a smaller scale, or by the model server.
  cv::Mat& pixels = prediction.pixels.bgr;
  const bool again = pixels.size() != prediction.picture;
  const PictureCost cost =
      DrawCost(prediction.picture, again ? DecodeCost(asked.picture, *header, 1) : PictureCost{});
  if (const absl::Status status = BeginDrawing(exchange, cost, prediction.pixels.step);
      !status.ok()) {
    return http::HeavyProblem(status);
  }
  const http::StageTimer timer(exchange.times, Stage::kDraw);
  if (again) {
    exchange.thread_slot.NewStep(Clock::now());
    absl::StatusOr<cv::Mat> decoded =
        vision::Decode(asked.picture, *header, /*reduction=*/1, exchange.limits.deadline);
    if (absl::IsDeadlineExceeded(decoded.status())) {
      return http::BackendProblem(decoded.status(), asked.model.name);
    }
    if (!decoded.ok()) return http::PictureProblem(decoded.status());
    pixels = *std::move(decoded);
  }
  const absl::Status drawn =
      std::visit(Drawing{pixels, prediction.model->description.class_names}, prediction.result);
  if (!drawn.ok()) return DrawProblem(drawn);
  if (auto problem = TooLate(exchange.limits, asked.model.name)) return *std::move(problem);
  exchange.thread_slot.NewStep(Clock::now());
  absl::StatusOr<std::string> file = vision::EncodePicture(pixels, EncodingOf(output));
  if (!file.ok()) return DrawProblem(file.status());
  if (auto problem = TooLate(exchange.limits, asked.model.name)) return *std::move(problem);
  return CachedAnswer{std::string(http::ContentType(output)), *std::move(file)};
}

struct Computed {
  Content content;
  std::shared_ptr<const backend::Model> model;  // that answered
  std::string version;                          // its version, as the answer has it
  std::shared_ptr<const ShadowJob> shadow = nullptr;
};

Computed Compute(http::Exchange& exchange, const http::Services& services, const Question& asked) {
  const bool may_draw = std::ranges::any_of(
      asked.outputs, [](http::Output output) { return output != http::Output::kJson; });
  const PictureQuestion question{.model = asked.model,
                                 .picture = asked.picture,
                                 .parameters = asked.parameters,
                                 .keep_pixels = may_draw,
                                 .known = asked.known};
  Seqlock<Task>& task = exchange.thread_slot.task;
  auto predicted = asked.answerer
                       ? asked.answerer(exchange, services, question, task, exchange.times)
                       : InferPicture(exchange, services, question, task, exchange.times);
  if (auto* problem = std::get_if<http::Problem>(&predicted))
    return {std::move(*problem), nullptr, ""};
  auto& prediction = std::get<Prediction>(predicted);
  exchange.report.version = prediction.version;
  exchange.report.timed = true;
  exchange.report.pictures = 1;
  exchange.report.findings = CountOf(prediction.result);
  auto shadow = ShadowJobOf(exchange, services, asked.picture, /*number=*/std::nullopt,
                            asked.parameters, prediction);
  const http::Output output = Choose(asked.outputs, prediction);
  if (output != http::Output::kJson) {
    return {Draw(exchange, asked, prediction, output), prediction.model, prediction.version,
            std::move(shadow)};
  }
  return {CachedAnswer{std::string(http::ContentType(output)),
                       Members(prediction, asked.parameters.normalized)},
          prediction.model, prediction.version, std::move(shadow)};
}

struct Looked {
  Content content;
  std::string_view outcome;  // X-Cache
  std::shared_ptr<const ShadowJob> shadow = nullptr;
};

Looked LookOrCompute(http::Exchange& exchange, const http::Services& services, Cache& cache,
                     const Question& asked) {
  const auto model = services.catalog.Get(asked.model, exchange.limits.deadline);
  std::optional<CacheKey> key;
  const std::string_view best = http::ContentType(asked.outputs.front());
  if (model.ok()) {
    key = cache.keys.For(asked.picture, *model, asked.parameters, best);
    if (auto found = cache.answers.Find(*key, std::chrono::system_clock::now())) {
      // InferPicture does this when there is no answer.
      const Digest digest = services.quarantine.DigestOf(asked.picture);
      if (services.quarantine.Has(digest, Name(asked.model), Clock::now())) {
        return {http::Quarantined(), "MISS"};
      }
      cache.counts.hits.fetch_add(1, std::memory_order_relaxed);
      exchange.report.version = (*model)->description.version;
      return {*std::move(found), "HIT"};
    }
  }
  cache.counts.misses.fetch_add(1, std::memory_order_relaxed);
  Question of_this_model = asked;
  if (model.ok()) of_this_model.known = *model;
  Computed computed = Compute(exchange, services, of_this_model);
  const auto* answer = std::get_if<CachedAnswer>(&computed.content);
  // Not when the model was replaced since we asked for its description, nor when the answer is not
  // what others who like that best may accept. There are servers without versions.
  if (key && answer != nullptr && answer->content_type == best && computed.model == *model &&
      (computed.version == (*model)->description.version ||
       (*model)->description.version.empty())) {
    cache.answers.Store(*key, *answer, std::chrono::system_clock::now());
  }
  return {std::move(computed.content), "MISS", std::move(computed.shadow)};
}

fcgi::Response ToResponse(http::Exchange& exchange, Content content) {
  if (const auto* problem = std::get_if<http::Problem>(&content)) {
    exchange.report.model_away = http::IsModelAway(*problem);
    return exchange.Fail(*problem);
  }
  auto& answer = std::get<CachedAnswer>(content);
  if (answer.content_type == http::ContentType(http::Output::kJson)) {
    exchange.SetTotalTime();
    return http::Json(
        Complete(answer.body, exchange.times, exchange.id, http::RouteMember(exchange)));
  }
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", std::move(answer.content_type));
  response.body = std::move(answer.body);
  return response;
}

// The answer, with what is to be done once it was sent.
fcgi::Response Finish(http::Exchange& exchange, const http::Services& services, Content content,
                      std::shared_ptr<const ShadowJob> shadow) {
  fcgi::Response response = ToResponse(exchange, std::move(content));
  if (shadow != nullptr && response.status == 200) {
    response.sent = [runner = services.shadows, job = std::move(shadow)] { runner->Offer(job); };
  }
  return response;
}

}  // namespace

fcgi::Response Predict(http::Exchange& exchange, const http::Services& services,
                       const backend::ModelVersion& model, const Answerer& answerer) {
  // Before the body is read, which may cost more.
  const auto in_query = http::ParseParameters(exchange.request.query, {}, services.config.predict);
  if (const auto* problem = std::get_if<http::Problem>(&in_query)) return exchange.Fail(*problem);
  http::PictureInputs inputs;
  auto reading = BeginStep(exchange.heavy, ReadingCost(exchange.request), exchange.patience());
  if (!reading.ok()) return exchange.Fail(http::HeavyProblem(reading.status()));
  const http::PictureInput picture = http::ReadPicture(exchange.request, inputs);
  *reading = HeavyStep();
  if (const auto* problem = std::get_if<http::Problem>(&picture)) return exchange.Fail(*problem);
  const auto parameters =
      inputs.fields.empty()
          ? in_query
          : http::ParseParameters(exchange.request.query, inputs.fields, services.config.predict);
  if (const auto* problem = std::get_if<http::Problem>(&parameters)) return exchange.Fail(*problem);
  const auto& wanted = std::get<http::PredictParameters>(parameters);

  const std::vector<http::Output> outputs =
      wanted.render ? std::vector{*wanted.render}
                    : http::Negotiate(exchange.request.Header("accept"));
  const Question asked{.model = model,
                       .picture = std::get<std::string_view>(picture),
                       .parameters = wanted,
                       .outputs = outputs,
                       .answerer = answerer};
  // Answers are kept by the version of one model.
  if (services.cache == nullptr || answerer) {
    Computed computed = Compute(exchange, services, asked);
    return Finish(exchange, services, std::move(computed.content), std::move(computed.shadow));
  }
  Looked looked = LookOrCompute(exchange, services, *services.cache, asked);
  fcgi::Response response =
      Finish(exchange, services, std::move(looked.content), std::move(looked.shadow));
  response.headers.emplace_back("X-Cache", looked.outcome);
  return response;
}

}  // namespace inferpool::predict
