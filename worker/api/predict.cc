#include "worker/api/predict.h"

#include <fmt/format.h>

#include <string_view>
#include <variant>

#include "worker/api/answer.h"
#include "worker/api/faults.h"
#include "worker/api/multipart.h"
#include "worker/api/parameters.h"
#include "worker/api/predictor.h"

namespace inferpool::api {
namespace {

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

fcgi::Response Predict(Exchange& exchange, const Services& services, const std::string& model) {
  if (!CanBeModelName(model)) {
    return exchange.Fail(BackendProblem(absl::NotFoundError(""), model));
  }
  const auto parameters = ParseParameters(exchange.request.query, services.config.predict);
  if (const auto* problem = std::get_if<Problem>(&parameters)) return exchange.Fail(*problem);
  const auto picture = FindPicture(exchange.request);
  if (const auto* problem = std::get_if<Problem>(&picture)) return exchange.Fail(*problem);

  const auto& bytes = std::get<std::string_view>(picture);
  const Digest digest = DigestOf(bytes);
  if (services.quarantine.Has(digest, model, Clock::now())) return exchange.Fail(Quarantined());
  // From here on, a crash is this picture's doing.
  exchange.lane.task.Store(
      {.request_id = RequestName(exchange.id), .model = ModelName(model), .digest = digest});
  InjectFault(bytes);

  const auto& wanted = std::get<PredictParameters>(parameters);
  const auto prediction = Predictor(services.config, services.inference, services.catalog)
                              .Predict(model, bytes, wanted, exchange.limits, exchange.timings);
  if (const auto* problem = std::get_if<Problem>(&prediction)) return exchange.Fail(*problem);
  exchange.timings.Set(Stage::kTotal, std::chrono::duration_cast<Timings::Duration>(
                                          Clock::now() - exchange.request.accepted));
  return Json(
      ToJson(std::get<Prediction>(prediction), wanted.normalized, exchange.timings, exchange.id));
}

}  // namespace inferpool::api
