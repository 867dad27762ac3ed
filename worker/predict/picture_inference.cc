#include "worker/predict/picture_inference.h"

#include <fmt/format.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "worker/predict/model_rows.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_plan.h"
#include "worker/predict/views.h"

namespace inferpool::predict {
namespace {

// So many tiles go in one call: on a processor more of them take longer each, as they outgrow its
// caches, and other requests wait longer for the model.
constexpr std::size_t kMostRows = 8;

std::variant<Prediction, Failure> InferOnce(const http::Exchange& exchange,
                                            const http::Services& services,
                                            const PictureQuestion& question, Seqlock<Task>& task,
                                            http::StageTimes& times, bool& turns_taken) {
  auto planned = PlanPicture(exchange, services, question, task, turns_taken);
  if (auto* failure = std::get_if<Failure>(&planned)) return std::move(*failure);
  auto& [picture, model, options, views] = std::get<PicturePlan>(planned);
  const vision::ModelPlan& plan = *model->plan;

  cv::Mat bgr;  // empty: the model takes the file
  Pixels pixels;
  const bool decodes = plan.input_kind == vision::InputKind::kPixels;
  if (!decodes && picture.file.empty()) {
    return Failure{http::UnsupportedMedia(
        fmt::format("the model {} is sent the picture's file as it is, and this one came as pixels",
                    question.model.name))};
  }
  if (question.shared != nullptr) {
    if (decodes) {
      bgr = question.shared->bgr;
      Reduce(picture, question.shared->reduction, views);
    }
  } else if (decodes) {
    auto decoded = DecodePlanned(exchange, services, std::get<PicturePlan>(planned), times);
    if (auto* problem = std::get_if<http::Problem>(&decoded)) return Failure{std::move(*problem)};
    pixels = std::get<Pixels>(std::move(decoded));
    bgr = pixels.bgr;
    if (!question.keep_pixels) pixels.bgr.release();
  } else {
    // What the embedded model server decodes is this machine's work too, until it has answered.
    if (services.config.modelserver.enabled) {
      auto step = BeginStep(exchange.heavy, DecodeCost(picture.file, picture.header, 1),
                            exchange.patience());
      if (!step.ok()) return Failure{http::HeavyProblem(step.status())};
      pixels.step = *std::move(step);
    }
  }

  std::vector<ModelRow> rows;
  rows.reserve(views.placements.size());
  for (const vision::Placement& placement : views.placements) {
    rows.push_back({bgr, decodes ? std::string_view() : picture.file, placement});
  }
  bgr.release();
  vision::Options of_rows = options;
  // What is dropped when the views are merged shall leave room for others.
  if (rows.size() > 1) {
    of_rows.max_detections = static_cast<std::size_t>(services.config.predict.max_detections);
  }
  auto inferred = InferRows(exchange, services,
                            {.model = model,
                             .rows = std::move(rows),
                             .options = of_rows,
                             .step = decodes ? &pixels.step : nullptr,
                             .keep_pixels = question.keep_pixels,
                             .most_rows = kMostRows},
                            times);
  if (!decodes) pixels.step = HeavyStep();
  if (auto* failure = std::get_if<Failure>(&inferred)) return std::move(*failure);
  auto& found = std::get<RowResults>(inferred);
  const http::StageTimer timer(times, Stage::kPostprocess);
  return Prediction{.model = model,
                    .version = std::move(found.version),
                    .picture = picture.size,
                    .pixels = std::move(pixels),
                    .tiles = views.tiles,
                    .result = MergeResults(views, std::move(found.results), options)};
}

}  // namespace

int ReductionFor(const vision::ModelPlan& plan, const http::PredictParameters& parameters,
                 const Picture& picture, const Config& config) {
  const auto views = ViewsOf(picture, plan, parameters, config);
  const auto* const looked = std::get_if<Views>(&views);
  return config.decode.reduced && looked != nullptr ? LargestReduction(picture, *looked) : 1;
}

std::shared_ptr<const backend::Model> AskAnew(const http::Exchange& exchange,
                                              const http::Services& services,
                                              const backend::ModelVersion& asked,
                                              const Failure& failure) {
  const auto& [problem, model, status, sent] = failure;
  const Deadline deadline = exchange.limits.deadline;
  const backend::Client& client = services.client;
  // A server without room for a call is not to be asked more.
  if (model == nullptr || absl::IsCancelled(status) || absl::IsDeadlineExceeded(status) ||
      absl::IsResourceExhausted(status)) {
    return nullptr;
  }
  const bool away = absl::IsUnavailable(status);
  if (!away) services.catalog.Renew(*model, deadline);
  if (away || absl::IsNotFound(status)) {
    if (client.targets() == 1) return nullptr;
    if (model->servers.size() == 1 &&
        !client.IsElsewhere(model->servers.front(), asked, away, deadline)) {
      return nullptr;
    }
  }
  std::optional<std::size_t> avoid;
  if (away && model->servers.size() == 1) avoid = model->servers.front();
  const auto now = services.catalog.Get(asked, deadline, avoid);
  if (!now.ok()) return nullptr;
  const bool is_same =
      (*now)->description == model->description && (*now)->servers == model->servers;
  return is_same || (away && sent && !client.MayRepeat()) ? nullptr : *now;
}

std::variant<Prediction, http::Problem> InferPicture(const http::Exchange& exchange,
                                                     const http::Services& services,
                                                     const PictureQuestion& question,
                                                     Seqlock<Task>& task, http::StageTimes& times) {
  bool turns_taken = false;
  auto first = InferOnce(exchange, services, question, task, times, turns_taken);
  if (auto* prediction = std::get_if<Prediction>(&first)) return std::move(*prediction);
  auto& failure = std::get<Failure>(first);
  PictureQuestion again = question;
  again.known = AskAnew(exchange, services, question.model, failure);
  if (again.known == nullptr) return std::move(failure.problem);
  auto second = InferOnce(exchange, services, again, task, times, turns_taken);
  if (auto* prediction = std::get_if<Prediction>(&second)) return std::move(*prediction);
  return std::move(std::get<Failure>(second).problem);
}

}  // namespace inferpool::predict
