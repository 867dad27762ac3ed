#include "worker/analyze/analyze.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <utility>

#include "shared/base/json_text.h"
#include "worker/analyze/pipeline.h"
#include "worker/http/lead.h"
#include "worker/http/picture_input.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/pipelines.h"
#include "worker/predict/side_by_side.h"
#include "worker/predict/wanted.h"

namespace inferpool::analyze {
namespace {

using predict::Prediction;
using predict::SharedPicture;

constexpr std::string_view kParameter = "models";
// Whom a crash is blamed on before the models are asked.
const std::string kName = "analyze";

// One model's or pipeline's share of the answer.
struct Part {
  std::string name;
  const Config::Step* pipeline = nullptr;                 // null: it is a model
  std::shared_ptr<const backend::Model> model = nullptr;  // of a pipeline the first one
  std::variant<std::monostate, Prediction, http::Problem> outcome = {};
  http::StageTimes times = {};

  bool is_open() const { return std::holds_alternative<std::monostate>(outcome); }
};

// Finds the part's model. Its problem is the part's outcome.
void Find(const http::Exchange& exchange, const http::Services& services, Part& part) {
  const std::string& name = part.name;
  part.pipeline = predict::FindPipeline(services.config, name);
  const std::string key_name =
      part.pipeline != nullptr
          ? name
          : http::LeadOf(exchange, services, name, /*names_versions=*/true).name;
  if (!exchange.MayUse(key_name)) {
    part.outcome = http::Forbidden(fmt::format("this API key may not use the model {}", name));
    return;
  }
  if (part.pipeline != nullptr) {
    if (auto problem = predict::CheckKey(exchange, services, name, *part.pipeline)) {
      part.outcome = *std::move(problem);
      return;
    }
  }
  auto found = predict::FindModel(exchange, services,
                                  part.pipeline != nullptr ? part.pipeline->model : name);
  if (auto* problem = std::get_if<http::Problem>(&found)) {
    part.outcome = std::move(*problem);
  } else {
    part.model = std::get<std::shared_ptr<const backend::Model>>(std::move(found));
  }
}

bool TakesPixels(const Part& part) {
  return part.pipeline != nullptr || part.model->plan->input_kind == vision::InputKind::kPixels;
}

// The largest reduction that all parts allow.
int ReductionFor(const http::Services& services, const http::PredictParameters& parameters,
                 const predict::Picture& picture, const std::vector<Part>& parts) {
  int reduction = 8;
  for (const Part& part : parts) {
    if (!part.is_open() || !TakesPixels(part)) continue;
    if (part.pipeline != nullptr) return 1;
    reduction = std::min(
        reduction, predict::ReductionFor(*part.model->plan, parameters, picture, services.config));
  }
  return reduction;
}

// The picture for all parts, as far as they need its pixels, and the heavy step that it takes.
std::variant<SharedPicture, http::Problem> Open(http::Exchange& exchange,
                                                const http::Services& services,
                                                std::string_view file,
                                                const http::PredictParameters& parameters,
                                                const std::vector<Part>& parts, HeavyStep& step) {
  auto opened = predict::OpenPicture(exchange, services, file, kName, exchange.thread_slot.task);
  if (auto* problem = std::get_if<http::Problem>(&opened)) return std::move(*problem);
  SharedPicture shared{.picture = std::get<predict::Picture>(opened), .bgr = {}};
  const predict::Picture& picture = shared.picture;
  // The same for all parts.
  const auto region = predict::RegionOf(parameters, picture.size);
  if (const auto* problem = std::get_if<http::Problem>(&region)) return *problem;
  const bool decodes = std::ranges::any_of(
      parts, [](const Part& part) { return part.is_open() && TakesPixels(part); });
  if (decodes) {
    shared.reduction = ReductionFor(services, parameters, picture, parts);
    auto decoded =
        predict::DecodePicture(exchange, picture, shared.reduction, kName, exchange.times);
    if (auto* problem = std::get_if<http::Problem>(&decoded)) return std::move(*problem);
    auto& pixels = std::get<predict::Pixels>(decoded);
    shared.bgr = std::move(pixels.bgr);
    step = std::move(pixels.step);
    step.Keep(shared.bgr.total() * shared.bgr.elemSize());
  } else if (services.config.modelserver.enabled && std::ranges::any_of(parts, &Part::is_open)) {
    // What the embedded model server decodes is this machine's work too.
    auto begun = predict::BeginStep(exchange.heavy, predict::DecodeCost(file, picture.header, 1),
                                    exchange.patience());
    if (!begun.ok()) return http::HeavyProblem(begun.status());
    step = *std::move(begun);
  }
  return shared;
}

void Ask(const http::Exchange& exchange, const http::Services& services,
         const SharedPicture& shared, const http::PredictParameters& parameters, Part& part,
         Seqlock<Task>& task) {
  const predict::PictureQuestion question{
      .model = part.pipeline != nullptr ? backend::ModelVersion{part.name} : part.model->asked(),
      .picture = shared.picture.file,
      .parameters = parameters,
      .known = part.model,
      .shared = &shared,
      .one_of_several = true};
  auto answer = part.pipeline != nullptr
                    ? AskPipeline(exchange, services, *part.pipeline, question, task, part.times)
                    : InferByRoute(exchange, services, part.name, question, task, part.times);
  if (auto* problem = std::get_if<http::Problem>(&answer)) {
    part.outcome = std::move(*problem);
  } else {
    part.outcome = std::get<Prediction>(std::move(answer));
  }
}

std::string ToJson(const Part& part, bool normalized, std::string_view base_path) {
  static const http::Problem kFailed = http::Internal("the worker could not ask this model");
  if (const auto* prediction = std::get_if<Prediction>(&part.outcome)) {
    return fmt::format(R"({{"status":200,"model":{},{}}})", predict::ModelJson(*prediction),
                       predict::ResultMembers(*prediction, normalized));
  }
  const auto* given = std::get_if<http::Problem>(&part.outcome);
  const http::Problem& problem = given != nullptr ? *given : kFailed;
  return fmt::format(R"({{"status":{},"problem":{{{}}}}})", problem.status,
                     Members(problem, base_path));
}

// A request names no models, and those of `asked_otherwise` are not there for it.
http::Problem NoModels(const std::vector<std::string>& asked_otherwise) {
  const std::string reason =
      asked_otherwise.empty()
          ? "this server asks none by itself"
          : fmt::format(
                "of those that this server asks by itself ({}) it has none, or none that "
                "the request's key may use",
                fmt::join(asked_otherwise, ", "));
  return http::BadParameter(
      std::string(kParameter),
      fmt::format("name models, such as ?models=a,b: {}; GET /v1/models lists those that are there",
                  reason));
}

// The parts that are asked for, with their models where there are some.
std::variant<std::vector<Part>, http::Problem> PartsOf(
    const http::Exchange& exchange, const http::Services& services,
    const std::optional<std::vector<std::string>>& wanted) {
  std::vector<Part> parts;
  for (const std::string& name : wanted ? *wanted : services.config.analyze) {
    Part part{.name = name};
    Find(exchange, services, part);
    const auto* problem = std::get_if<http::Problem>(&part.outcome);
    const bool is_missing =
        problem != nullptr && (problem->status == 404 || problem->status == 403);
    if (wanted || !is_missing) parts.push_back(std::move(part));
  }
  if (parts.empty()) return NoModels(services.config.analyze);
  return parts;
}

// The problem of a class that no model knows. While one of them cannot be looked at, it may know
// it.
std::optional<http::Problem> CheckClasses(const std::vector<Part>& parts,
                                          const http::PredictParameters& parameters) {
  constexpr int kNotFound = 404;
  std::vector<std::shared_ptr<const backend::Model>> models;
  for (const Part& part : parts) {
    const auto* problem = std::get_if<http::Problem>(&part.outcome);
    if (problem != nullptr && problem->status != kNotFound) return std::nullopt;
    if (problem == nullptr) models.push_back(part.model);
  }
  return predict::CheckClasses(models, parameters);
}

// As http::ParseParameters; nothing is drawn.
std::variant<http::PredictParameters, http::Problem> ReadParameters(
    const Wanted& wanted, const Config::Predict& defaults) {
  auto parameters = http::ParseParameters(wanted.query, wanted.fields, defaults);
  const auto* read = std::get_if<http::PredictParameters>(&parameters);
  if (read != nullptr && read->render.value_or(http::Output::kJson) != http::Output::kJson) {
    return http::BadParameter("render", "several models are answered in JSON");
  }
  return parameters;
}

}  // namespace

std::variant<Wanted, http::Problem> TakeModels(std::string_view query,
                                               const std::vector<http::FormField>& fields) {
  Wanted wanted;
  const auto take = [&wanted](std::string value) {
    const bool is_first = !wanted.models;
    wanted.models = std::move(value);
    return is_first;
  };
  const http::Problem twice = http::BadParameter(std::string(kParameter), "models is given twice");
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (http::PercentDecode(pair.substr(0, equals)) == kParameter) {
      std::string value(pair.substr(std::min(equals + 1, pair.size())));
      std::ranges::replace(value, '+', ' ');
      if (!take(http::PercentDecode(value))) return twice;
    } else {
      wanted.query += fmt::format("{}{}", wanted.query.empty() ? "" : "&", pair);
    }
  }
  for (const http::FormField& field : fields) {
    if (field.name != kParameter) {
      wanted.fields.push_back(field);
    } else if (!take(std::string(field.value))) {
      return twice;
    }
  }
  return wanted;
}

std::variant<std::vector<std::string>, http::Problem> SplitModels(std::string_view list) {
  const auto bad = [](std::string detail) {
    return http::BadParameter(std::string(kParameter), std::move(detail));
  };
  std::vector<std::string> names;
  while (true) {
    const std::string_view name = list.substr(0, list.find(','));
    if (name.empty()) return bad("models is a list of names with commas between, such as a,b");
    if (std::ranges::find(names, name) != names.end()) return bad("models names one model twice");
    if (names.size() == kMaxAnalyzed) {
      return bad(fmt::format("models names too many; allowed are {}", kMaxAnalyzed));
    }
    names.emplace_back(name);
    if (name.size() == list.size()) return names;
    list.remove_prefix(name.size() + 1);
  }
}

fcgi::Response Analyze(http::Exchange& exchange, const http::Services& services) {
  const Config::Predict& defaults = services.config.predict;
  // Before the body is read, which may cost more.
  auto in_query = TakeModels(exchange.request.query, {});
  if (const auto* problem = std::get_if<http::Problem>(&in_query)) return exchange.Fail(*problem);
  const auto first = ReadParameters(std::get<Wanted>(in_query), defaults);
  if (const auto* problem = std::get_if<http::Problem>(&first)) return exchange.Fail(*problem);
  http::PictureInputs inputs;
  auto reading = predict::BeginStep(exchange.heavy, predict::ReadingCost(exchange.request),
                                    exchange.patience());
  if (!reading.ok()) return exchange.Fail(http::HeavyProblem(reading.status()));
  const http::PictureInput picture = http::ReadPicture(exchange.request, inputs);
  *reading = HeavyStep();
  if (const auto* problem = std::get_if<http::Problem>(&picture)) return exchange.Fail(*problem);

  auto taken = TakeModels(exchange.request.query, inputs.fields);
  if (const auto* problem = std::get_if<http::Problem>(&taken)) return exchange.Fail(*problem);
  const auto& wanted = std::get<Wanted>(taken);
  const auto parameters = wanted.fields.empty() ? first : ReadParameters(wanted, defaults);
  if (const auto* problem = std::get_if<http::Problem>(&parameters)) return exchange.Fail(*problem);
  std::optional<std::vector<std::string>> names;
  if (wanted.models) {
    auto split = SplitModels(*wanted.models);
    if (const auto* problem = std::get_if<http::Problem>(&split)) return exchange.Fail(*problem);
    names = std::get<std::vector<std::string>>(std::move(split));
  }
  auto found = PartsOf(exchange, services, names);
  if (const auto* problem = std::get_if<http::Problem>(&found)) return exchange.Fail(*problem);
  auto& parts = std::get<std::vector<Part>>(found);

  const auto& asked = std::get<http::PredictParameters>(parameters);
  if (const auto problem = CheckClasses(parts, asked)) return exchange.Fail(*problem);
  HeavyStep step;
  const auto opened =
      Open(exchange, services, std::get<std::string_view>(picture), asked, parts, step);
  if (const auto* problem = std::get_if<http::Problem>(&opened)) return exchange.Fail(*problem);
  const auto& shared = std::get<SharedPicture>(opened);
  std::vector<Part*> open;
  for (Part& part : parts) {
    if (part.is_open()) open.push_back(&part);
  }
  predict::SideBySide(exchange.thread_slot, services.spare_threads, open.size(),
                      [&](std::size_t at, Seqlock<Task>& task) {
                        try {
                          Ask(exchange, services, shared, asked, *open[at], task);
                        } catch (const std::exception&) {  // out of memory: it has no outcome
                        }
                      });
  step = HeavyStep();
  if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
  for (const Part* part : open) exchange.times.Add(part->times);
  exchange.SetTotalTime();
  std::string json = fmt::format(R"({{"image":{{"width":{},"height":{}}},"results":{{)",
                                 shared.picture.size.width, shared.picture.size.height);
  for (const Part& part : parts) {
    fmt::format_to(std::back_inserter(json), "{}{}:{}", json.back() == '{' ? "" : ",",
                   QuotedJson(part.name), ToJson(part, asked.normalized, exchange.base_path));
  }
  fmt::format_to(std::back_inserter(json), "}},\"timing_ms\":{},\"request_id\":{}}}\n",
                 exchange.times.Json(), QuotedJson(exchange.id));
  return http::Json(std::move(json));
}

}  // namespace inferpool::analyze
