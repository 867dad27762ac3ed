#include "worker/api/predict.h"

#include <utility>
#include <vector>

#include "worker/api/answer.h"
#include "worker/api/faults.h"
#include "worker/api/picture_input.h"
#include "worker/vision/decode.h"
#include "worker/vision/draw.h"
#include "worker/vision/encode.h"
#include "worker/vision/header.h"

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

// The picture with what was found in it, as `output` says.
fcgi::Response Draw(const Exchange& exchange, std::string_view picture, Prediction& prediction,
                    Output output) {
  // It may have been decoded at a smaller scale, or by the model server.
  cv::Mat& pixels = prediction.pixels;
  if (pixels.size() != prediction.picture) {
    const auto header = vision::ReadHeader(picture);
    if (!header.ok()) return exchange.Fail(PictureProblem(header.status()));
    absl::StatusOr<cv::Mat> decoded = vision::Decode(picture, *header);
    if (!decoded.ok()) return exchange.Fail(PictureProblem(decoded.status()));
    pixels = *std::move(decoded);
  }
  const absl::Status drawn =
      std::visit(Drawing{pixels, prediction.model->description.class_names}, prediction.result);
  if (!drawn.ok()) return exchange.Fail(DrawProblem(drawn));
  absl::StatusOr<std::string> file = vision::EncodePicture(
      pixels, output == Output::kPng ? vision::Encoding::kPng : vision::Encoding::kJpeg);
  if (!file.ok()) return exchange.Fail(DrawProblem(file.status()));
  fcgi::Response response;
  response.headers.emplace_back("Content-Type", ContentType(output));
  response.body = *std::move(file);
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

  const auto bytes = std::get<std::string_view>(picture);
  auto prediction = PredictPicture(exchange, services, model, bytes, wanted, exchange.lane.task,
                                   exchange.timings);
  if (const auto* problem = std::get_if<Problem>(&prediction)) return exchange.Fail(*problem);
  const Output output = wanted.render.value_or(Negotiate(exchange.request.Header("accept")));
  if (output != Output::kJson) {
    return Draw(exchange, bytes, std::get<Prediction>(prediction), output);
  }
  exchange.timings.Set(Stage::kTotal, std::chrono::duration_cast<Timings::Duration>(
                                          Clock::now() - exchange.request.accepted));
  return Json(
      ToJson(std::get<Prediction>(prediction), wanted.normalized, exchange.timings, exchange.id));
}

}  // namespace inferpool::api
