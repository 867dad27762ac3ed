#include "worker/api/predict.h"

#include <utility>

#include "worker/api/answer.h"
#include "worker/api/faults.h"
#include "worker/api/picture_input.h"

namespace inferpool::api {
namespace {

// The picture with what was found in it drawn, as `output` says.
fcgi::Response Draw(const Exchange&, const Prediction&, Output) {
  return {};
}

}  // namespace

std::variant<Prediction, Problem> PredictPicture(const Exchange& exchange, const Services& services,
                                                 const std::string& model, std::string_view picture,
                                                 const PredictParameters& parameters,
                                                 Seqlock<Task>& task, Timings& timings) {
  const Digest digest = DigestOf(picture);
  if (services.quarantine.Has(digest, model, Clock::now())) return Quarantined();
  task.Store(
      {.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
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

  const auto prediction =
      PredictPicture(exchange, services, model, std::get<std::string_view>(picture), wanted,
                     exchange.lane.task, exchange.timings);
  if (const auto* problem = std::get_if<Problem>(&prediction)) return exchange.Fail(*problem);
  const Output output = wanted.render.value_or(Negotiate(exchange.request.Header("accept")));
  if (output != Output::kJson) return Draw(exchange, std::get<Prediction>(prediction), output);
  exchange.timings.Set(Stage::kTotal, std::chrono::duration_cast<Timings::Duration>(
                                          Clock::now() - exchange.request.accepted));
  return Json(
      ToJson(std::get<Prediction>(prediction), wanted.normalized, exchange.timings, exchange.id));
}

}  // namespace inferpool::api
