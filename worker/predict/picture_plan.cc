#include "worker/predict/picture_plan.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "worker/predict/wanted.h"

namespace inferpool::predict {
namespace {

std::variant<Picture, http::Problem> Open(const http::Exchange& exchange,
                                          const http::Services& services,
                                          const PictureQuestion& question, Seqlock<Task>& task) {
  // Another version of the model may well take what crashes this one.
  const std::string model = Name(question.model);
  const SharedPicture* const shared = question.shared;
  if (shared == nullptr) return OpenPicture(exchange, services, question.picture, model, task);
  auto problem = Blame(exchange, services, shared->picture.digest, model, task);
  if (problem) return *std::move(problem);
  return shared->picture;
}

}  // namespace

std::variant<PicturePlan, Failure> PlanPicture(const http::Exchange& exchange,
                                               const http::Services& services,
                                               const PictureQuestion& question, Seqlock<Task>& task,
                                               bool& turns_taken) {
  const backend::CallLimits& limits = exchange.limits;
  const std::string& name = question.model.name;

  auto opened = Open(exchange, services, question, task);
  if (auto* problem = std::get_if<http::Problem>(&opened)) return Failure{std::move(*problem)};
  auto& picture = std::get<Picture>(opened);

  absl::StatusOr<std::shared_ptr<const backend::Model>> model = question.known;
  if (question.known == nullptr) model = services.catalog.Get(question.model, limits.deadline);
  if (!model.ok()) return Failure{http::BackendProblem(model.status(), name)};
  const absl::StatusOr<vision::ModelPlan>& plan = (*model)->plan;
  if (!plan.ok()) return Failure{http::PlanProblem(plan.status(), name)};

  // A refusal is prompt, however large the picture.
  if (const absl::Status admits = services.inference.CheckAdmits(**model); !admits.ok()) {
    return Failure{http::BackendProblem(admits, name), *model, admits, /*sent=*/false};
  }

  // In a batch, later pictures can be too late.
  if (auto problem = TooLate(limits, name)) return Failure{*std::move(problem)};

  auto wanted = OptionsFor(**model, question.parameters, question.one_of_several);
  if (auto* problem = std::get_if<http::Problem>(&wanted)) return Failure{std::move(*problem)};
  auto looked = ViewsOf(picture, *plan, question.parameters, services.config);
  if (auto* problem = std::get_if<http::Problem>(&looked)) return Failure{std::move(*problem)};
  auto& views = std::get<Views>(looked);
  if (const int tiles = views.tile_count(); tiles > 0 && !turns_taken) {
    if (auto problem = exchange.TakeTurns(tiles, "tiles", fmt::format("{} tiles", tiles))) {
      return Failure{*std::move(problem)};
    }
    turns_taken = true;
  }
  return PicturePlan{std::move(picture), *std::move(model),
                     std::get<vision::Options>(std::move(wanted)), std::move(views)};
}

std::variant<Pixels, http::Problem> DecodePlanned(const http::Exchange& exchange,
                                                  const http::Services& services, PicturePlan& plan,
                                                  http::StageTimes& times) {
  const int reduction =
      services.config.decode.reduced ? LargestReduction(plan.picture, plan.views) : 1;
  Reduce(plan.picture, reduction, plan.views);
  return DecodePicture(exchange, plan.picture, reduction, plan.model->description.name, times);
}

}  // namespace inferpool::predict
