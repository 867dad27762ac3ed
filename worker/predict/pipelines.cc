#include "worker/predict/pipelines.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "shared/base/deadline.h"
#include "shared/base/json_text.h"
#include "shared/config/pipelines_key.h"
#include "worker/http/lead.h"

namespace inferpool::predict {
namespace {

void AddModels(const Config::Step& step, std::vector<std::string>& models) {
  for (const std::string* model : {&step.turn, &step.model}) {
    if (!model->empty() && std::ranges::find(models, *model) == models.end()) {
      models.push_back(*model);
    }
  }
  for (const Config::Step& below : step.each) AddModels(below, models);
}

}  // namespace

const Config::Step* FindPipeline(const Config& config, const std::string& name) {
  const auto found = config.pipelines.find(name);
  return found == config.pipelines.end() ? nullptr : &found->second;
}

std::vector<std::string> ModelsOf(const Config::Step& pipeline) {
  std::vector<std::string> models;
  AddModels(pipeline, models);
  return models;
}

std::optional<backend::ModelVersion> ModelFor(const http::Exchange& exchange,
                                              const http::Services& services,
                                              const std::string& name) {
  const http::Lead lead = http::LeadOf(exchange, services, name, /*names_versions=*/true);
  if (lead.ways.empty()) return std::nullopt;
  const auto found = std::ranges::find_if(lead.ways, [&services](const routes::Way& way) {
    return !services.client.IsAway(way.model);
  });
  return found == lead.ways.end() ? lead.ways.back().model : found->model;
}

std::variant<std::shared_ptr<const backend::Model>, http::Problem> FindModel(
    const http::Exchange& exchange, const http::Services& services, const std::string& name) {
  std::optional<backend::ModelVersion> asked;
  if (http::CanBeModelName(name)) asked = ModelFor(exchange, services, name);
  if (!asked) return http::BackendProblem(absl::NotFoundError(""), name);
  const auto failed = [&](http::Problem problem) {
    http::CountByRoute(exchange, services, name, *asked, {}, problem.status,
                       Clock::duration::zero());
    return problem;
  };
  auto known = services.catalog.Get(*asked, exchange.limits.deadline);
  if (!known.ok()) return failed(http::BackendProblem(known.status(), name));
  if (!(*known)->plan.ok()) return failed(http::PlanProblem((*known)->plan.status(), name));
  const absl::Status admits = services.inference.CheckAdmits(**known);
  if (!admits.ok()) return failed(http::BackendProblem(admits, name));
  return *std::move(known);
}

std::optional<http::Problem> CheckKey(const http::Exchange& exchange,
                                      const http::Services& services, const std::string& name,
                                      const Config::Step& pipeline) {
  for (const std::string& model : ModelsOf(pipeline)) {
    if (exchange.MayUse(http::LeadOf(exchange, services, model, /*names_versions=*/true).name)) {
      continue;
    }
    return http::Forbidden(fmt::format(
        "this API key may not use the model {}, which the pipeline {} asks", model, name));
  }
  return std::nullopt;
}

std::string DescribePipeline(const http::Exchange& exchange, const http::Services& services,
                             const std::string& name, const Config::Step& pipeline,
                             Deadline deadline) {
  std::string unusable;
  std::vector<std::string> class_names;
  for (const std::string& model : ModelsOf(pipeline)) {
    const auto asked = ModelFor(exchange, services, model);
    absl::StatusOr<std::shared_ptr<const backend::Model>> known = absl::NotFoundError("");
    if (asked) known = services.catalog.Get(*asked, deadline);
    if (!known.ok()) {
      unusable = http::BackendProblem(known.status(), model).detail;
    } else if (!(*known)->plan.ok()) {
      unusable = fmt::format("{}: {}", model, Message((*known)->plan.status()));
    } else if (model == pipeline.model) {
      class_names.reserve((*known)->description.class_names.size());
      for (const std::string& text : (*known)->description.class_names) {
        class_names.push_back(QuotedJson(text));
      }
    }
    if (!unusable.empty()) break;
  }
  const std::string family =
      unusable.empty() ? R"("family":"pipeline")"
                       : fmt::format(R"("family":null,"unusable":{})", QuotedJson(unusable));
  return fmt::format(
      R"({{"name":{},"version":"",{},"max_batch_size":0,"inputs":[],"outputs":[],"class_names":[{}],"steps":{}}})",
      QuotedJson(name), family, fmt::join(class_names, ","), ToJson(pipeline));
}

}  // namespace inferpool::predict
