#include "worker/predict/picture_inference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "worker/predict/model_rows.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/wanted.h"
#include "worker/vision/reduction.h"
#include "worker/vision/tile_merge.h"

namespace inferpool::predict {
namespace {

std::variant<Picture, http::Problem> Open(const http::Exchange& exchange,
                                          const http::Services& services,
                                          const PictureQuestion& question, Seqlock<Task>& task) {
  const std::string& model = question.model.name;
  const SharedPicture* const shared = question.shared;
  if (shared == nullptr) return OpenPicture(exchange, services, question.picture, model, task);
  auto problem = Blame(exchange, services, shared->picture.digest, model, task);
  if (problem) return *std::move(problem);
  return shared->picture;
}

// The parts of a picture that are looked at, as a model takes them.
struct Views {
  vision::TileGrid tiles;
  std::vector<vision::Placement> placements;  // the whole part first, then its tiles
};

Views ViewsOf(const http::PredictParameters& parameters, const vision::ModelPlan& plan,
              const Picture& picture, const cv::Rect& part, const Config& config) {
  Views views{.tiles = TilesOf(parameters, plan, part, config.predict.tiles), .placements = {}};
  views.placements.push_back(vision::Place(plan.input, picture.size, part));
  if (views.tiles == vision::TileGrid()) return views;
  for (const cv::Rect& tile : vision::CutIntoTiles(part, views.tiles, parameters.tile_overlap)) {
    views.placements.push_back(vision::Place(plan.input, picture.size, tile));
  }
  return views;
}

// Chooses the scale of which every view has enough pixels, adjusts them to it, and returns it.
int ReduceTogether(const vision::Header& header, std::vector<vision::Placement>& placements) {
  int reduction = vision::LargestReduction(header, placements.front());
  for (const vision::Placement& placement : placements) {
    reduction = std::min(reduction, vision::LargestReduction(header, placement));
  }
  for (vision::Placement& placement : placements) {
    placement = vision::AtReduction(header, placement, reduction);
  }
  return reduction;
}

// One result of the rows', which are of these views.
vision::Result MergeViews(const std::vector<vision::Placement>& placements,
                          std::vector<vision::Result> results,
                          const vision::MergeOptions& options) {
  if (results.size() == 1) return std::move(results.front());
  std::vector<vision::FoundInPart> parts;
  for (std::size_t i = 0; i < results.size(); ++i) {
    // CheckFits has let through models that find things only.
    parts.push_back({placements[i].view, std::get<vision::Detections>(std::move(results[i]))});
  }
  return vision::MergeTiles(std::move(parts), options);
}

std::variant<Prediction, Failure> InferOnce(const http::Exchange& exchange,
                                            const http::Services& services,
                                            const PictureQuestion& question, Seqlock<Task>& task,
                                            http::StageTimes& times, bool& turns_taken) {
  const backend::CallLimits& limits = exchange.limits;
  const std::string& model = question.model.name;

  auto opened = Open(exchange, services, question, task);
  if (auto* problem = std::get_if<http::Problem>(&opened)) return Failure{std::move(*problem)};
  const auto& picture = std::get<Picture>(opened);

  absl::StatusOr<std::shared_ptr<const backend::Model>> known = question.known;
  if (question.known == nullptr) known = services.catalog.Get(question.model, limits.deadline);
  if (!known.ok()) return Failure{http::BackendProblem(known.status(), model)};
  const absl::StatusOr<vision::ModelPlan>& plan = (*known)->plan;
  if (!plan.ok()) return Failure{http::PlanProblem(plan.status(), model)};

  // A refusal is prompt, however large the picture.
  if (const absl::Status admits = services.inference.CheckAdmits(**known); !admits.ok()) {
    return Failure{http::BackendProblem(admits, model), *known, admits, /*sent=*/false};
  }

  // In a batch, later pictures can be too late.
  if (auto problem = TooLate(limits, model)) return Failure{*std::move(problem)};

  const http::PredictParameters& parameters = question.parameters;
  auto wanted = OptionsFor(**known, parameters);
  if (auto* problem = std::get_if<http::Problem>(&wanted)) return Failure{std::move(*problem)};
  auto& options = std::get<vision::Options>(wanted);
  const auto part = RegionOf(parameters, picture.size);
  if (const auto* problem = std::get_if<http::Problem>(&part)) return Failure{*problem};
  auto [tiles, placements] =
      ViewsOf(parameters, *plan, picture, std::get<cv::Rect>(part), services.config);
  if (placements.size() > 1 && !turns_taken) {
    const auto count = static_cast<int>(placements.size()) - 1;
    if (auto problem = exchange.TakeTurns(count, "tiles", fmt::format("{} tiles", count))) {
      return Failure{*std::move(problem)};
    }
    turns_taken = true;
  }

  std::vector<ModelRow> rows(placements.size());
  Pixels pixels;
  const bool decodes = plan->input_kind == vision::InputKind::kPixels;
  if (const SharedPicture* const shared = question.shared) {
    for (vision::Placement& placement : placements) {
      placement = vision::AtReduction(picture.header, placement, decodes ? shared->reduction : 1);
    }
    for (ModelRow& row : rows) {
      if (decodes) row.pixels = shared->bgr;
    }
    if (!decodes) rows.front().file = picture.file;
  } else if (decodes) {
    const int reduction =
        services.config.decode.reduced ? ReduceTogether(picture.header, placements) : 1;
    auto decoded = DecodePicture(exchange, picture, reduction, model, times);
    if (auto* problem = std::get_if<http::Problem>(&decoded)) return Failure{std::move(*problem)};
    pixels = std::get<Pixels>(std::move(decoded));
    for (ModelRow& row : rows) row.pixels = pixels.bgr;
    if (!question.keep_pixels) pixels.bgr.release();
  } else {
    rows.front().file = picture.file;
    // What the embedded model server decodes is this machine's work too, until it has answered.
    if (services.config.modelserver.enabled) {
      auto step = BeginStep(exchange.heavy, DecodeCost(picture.file, picture.header, 1),
                            exchange.patience());
      if (!step.ok()) return Failure{http::HeavyProblem(step.status())};
      pixels.step = *std::move(step);
    }
  }

  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].placement = placements[i];

  const vision::MergeOptions merging{.iou = options.iou,
                                     .max_detections = options.max_detections,
                                     .class_agnostic = options.class_agnostic};
  // What is dropped when the views are merged should leave room for others.
  if (rows.size() > 1) {
    options.max_detections = static_cast<std::size_t>(services.config.predict.max_detections);
  }
  auto inferred = InferRows(exchange, services,
                            {.model = *known,
                             .rows = std::move(rows),
                             .options = options,
                             .step = decodes ? &pixels.step : nullptr,
                             .keep_pixels = question.keep_pixels},
                            times);
  if (!decodes) pixels.step = HeavyStep();
  if (auto* failure = std::get_if<Failure>(&inferred)) return std::move(*failure);
  auto& found = std::get<RowResults>(inferred);
  const http::StageTimer timer(times, Stage::kPostprocess);
  return Prediction{.model = *known,
                    .version = std::move(found.version),
                    .picture = picture.size,
                    .pixels = std::move(pixels),
                    .tiles = tiles,
                    .result = MergeViews(placements, std::move(found.results), merging)};
}

}  // namespace

int ReductionFor(const vision::ModelPlan& plan, const http::PredictParameters& parameters,
                 const Picture& picture, const Config& config) {
  const auto part = RegionOf(parameters, picture.size);
  if (!config.decode.reduced || std::holds_alternative<http::Problem>(part)) return 1;
  Views views = ViewsOf(parameters, plan, picture, std::get<cv::Rect>(part), config);
  return ReduceTogether(picture.header, views.placements);
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
