#include "worker/analyze/steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <variant>

#include "worker/analyze/crops.h"
#include "worker/analyze/reading_order.h"
#include "worker/http/lead.h"
#include "worker/predict/answer.h"
#include "worker/predict/found.h"
#include "worker/predict/model_rows.h"
#include "worker/predict/picture.h"
#include "worker/predict/pipelines.h"
#include "worker/vision/encode.h"

namespace inferpool::analyze {
namespace {

using predict::Found;
using predict::RowResults;

// Crops are asked about for so many pixels at a time; a larger one alone.
constexpr std::int64_t kMaxPixelsAtOnce = 16'000'000;

// The detections of one result, and where to put what is found in them.
struct Findings {
  vision::Detections* detections;
  std::vector<std::vector<Found>>* found;
};

std::string ClassName(const std::vector<std::string>& names, int class_id) {
  const auto index = static_cast<std::size_t>(class_id);
  const bool has_name = index < names.size() && !names[index].empty();
  return has_name ? names[index] : fmt::format("{}", class_id);
}

float ShorterSide(const vision::Detection& found) {
  if (found.corners.size() == 4) {
    const auto& at = found.corners;
    return std::min(std::hypot(at[1].x - at[0].x, at[1].y - at[0].y),
                    std::hypot(at[3].x - at[0].x, at[3].y - at[0].y));
  }
  return std::min(found.x2 - found.x1, found.y2 - found.y1);
}

// A text's lines as one.
std::string Joined(const vision::TextLines& lines) {
  std::string text;
  for (const vision::TextLine& line : lines) text += (text.empty() ? "" : "\n") + line.text;
  return text;
}

// The detection's corners, as its step has turned it.
LineCorners CornersOf(const vision::Detection& detection, std::span<const Found> found) {
  LineCorners corners = {vision::Point{detection.x1, detection.y1},
                         {detection.x2, detection.y1},
                         {detection.x2, detection.y2},
                         {detection.x1, detection.y2}};
  if (detection.corners.size() == 4) std::ranges::copy(detection.corners, corners.begin());
  const auto turned =
      std::ranges::find_if(found, [](const Found& one) { return one.turned.has_value(); });
  if (turned != found.end()) {
    std::rotate(corners.begin(), corners.begin() + *turned->turned / 90 % 4, corners.end());
  }
  return corners;
}

void PutIntoReadingOrder(const Findings& findings) {
  auto& [detections, found] = findings;
  found->resize(detections->size());
  std::vector<LineCorners> lines;
  for (std::size_t i = 0; i < detections->size(); ++i) {
    lines.push_back(CornersOf((*detections)[i], (*found)[i]));
  }
  vision::Detections ordered;
  std::vector<std::vector<Found>> ordered_found;
  for (const std::size_t i : ReadingOrder(lines)) {
    ordered.push_back(std::move((*detections)[i]));
    ordered_found.push_back(std::move((*found)[i]));
  }
  *detections = std::move(ordered);
  *found = std::move(ordered_found);
}

class Steps {
 public:
  Steps(const http::Exchange& exchange, const http::Services& services,
        const StepsQuestion& question, std::vector<predict::AnsweredBy>& answered,
        Seqlock<Task>& task, http::StageTimes& times)
      : exchange_(exchange),
        services_(services),
        pipeline_(question.pipeline),
        picture_(question.picture),
        answered_(answered),
        task_(task),
        times_(times) {}

  // Asks what is below `step`, of which `findings` are.
  std::optional<http::Problem> AskBelow(const Config::Step& step, const backend::Model& model,
                                        const std::vector<Findings>& findings) {
    for (const Config::Step& below : step.each) {
      if (auto problem = AskOne(below, step, model, findings)) return problem;
    }
    if (step.reading_order) std::ranges::for_each(findings, PutIntoReadingOrder);
    return std::nullopt;
  }

  // Why the step's findings cannot be asked about.
  http::Problem HasNoPlaces(const Config::Step& step) const {
    return Unusable(step.model,
                    "says of no place in the picture what is there, and so no step can "
                    "be below it");
  }

 private:
  std::optional<http::Problem> AskOne(const Config::Step& step, const Config::Step& above,
                                      const backend::Model& model,
                                      const std::vector<Findings>& findings) {
    const std::vector<std::string>& class_names = model.description.class_names;
    for (const std::string& wanted : step.classes) {
      if (class_names.empty() || std::ranges::find(class_names, wanted) != class_names.end()) {
        continue;
      }
      return Unusable(above.model, fmt::format("has no class {}, which {} is to be asked about",
                                               wanted, step.model));
    }
    std::vector<const vision::Detections*> lists;
    lists.reserve(findings.size());
    for (const Findings& list : findings) lists.push_back(list.detections);
    const std::vector<Place> chosen = Choose(lists, class_names, step);
    if (chosen.empty()) return std::nullopt;
    std::vector<Crop> crops;
    crops.reserve(chosen.size());
    for (const auto& [list, at] : chosen) {
      crops.push_back(CropOf((*lists[list])[at], picture_.picture.size));
    }
    std::vector<int> turned;
    if (!step.turn.empty()) {
      if (auto problem = Turn(step.turn, crops, turned)) return problem;
    }
    std::shared_ptr<const backend::Model> asked;
    std::vector<vision::Result> results;
    if (auto problem = AskAbout(step.model, crops, asked, results)) return problem;
    std::vector<Findings> below;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const Findings& parent = findings[chosen[i].list];
      const std::size_t at = chosen[i].at;
      if (parent.found->size() <= at) parent.found->resize(parent.detections->size());
      Found& found = (*parent.found)[at].emplace_back(
          Found{.step = step.model, .model = asked, .result = std::move(results[i])});
      if (!turned.empty()) found.turned = turned[i];
      if (const auto* lines = std::get_if<vision::TextLines>(&found.result)) {
        auto& text = (*parent.detections)[at].text;
        if (!text) text = Joined(*lines);
      }
      if (auto* detections = std::get_if<vision::Detections>(&found.result)) {
        for (vision::Detection& detection : *detections) {
          detection = ToPicture(std::move(detection), crops[i], picture_.picture.size);
        }
        below.push_back({detections, &found.found});
      } else if (!step.each.empty()) {
        return HasNoPlaces(step);
      }
    }
    return AskBelow(step, *asked, below);
  }

  // Asks by how much the crops are turned, and turns them back.
  std::optional<http::Problem> Turn(const std::string& name, std::vector<Crop>& crops,
                                    std::vector<int>& turned) {
    std::shared_ptr<const backend::Model> model;
    std::vector<vision::Result> results;
    if (auto problem = AskAbout(name, crops, model, results)) return problem;
    for (std::size_t i = 0; i < crops.size(); ++i) {
      const auto* classes = std::get_if<vision::Classification>(&results[i]);
      const std::string degrees =
          classes == nullptr || classes->scores.empty()
              ? ""
              : ClassName(model->description.class_names, classes->scores.front().class_id);
      int number = -1;
      std::from_chars(degrees.data(), degrees.data() + degrees.size(), number);
      if (number < 0 || number % 90 != 0 || number >= 360) {
        return Unusable(name,
                        "must be a classification with the classes 0, 90, 180 and 270, or "
                        "some of them, to say how a part of a picture is turned");
      }
      crops[i] = TurnedBack(crops[i], number / 90);
      turned.push_back(number);
    }
    return std::nullopt;
  }

  // Asks a model about all crops. `results` are in their order, in the crops' pixels.
  std::optional<http::Problem> AskAbout(const std::string& name, std::span<const Crop> crops,
                                        std::shared_ptr<const backend::Model>& model,
                                        std::vector<vision::Result>& results) {
    if (auto problem = predict::Blame(exchange_, services_, picture_.picture.digest, name, task_)) {
      return problem;
    }
    std::string version;
    while (!crops.empty()) {
      const std::size_t count = CountAtOnce(crops);
      std::vector<cv::Mat> pixels;
      {
        const http::StageTimer timer(times_, Stage::kPreprocess);
        for (const Crop& crop : crops.first(count)) pixels.push_back(Pixels(picture_.bgr, crop));
      }
      const TimePoint begun = Clock::now();
      auto answer = Ask(name, pixels, model);
      if (model != nullptr) Count(name, model->asked(), answer, Clock::now() - begun);
      if (auto* problem = std::get_if<http::Problem>(&answer)) return std::move(*problem);
      auto& found = std::get<RowResults>(answer);
      std::ranges::move(found.results, std::back_inserter(results));
      version = std::move(found.version);
      crops = crops.subspan(count);
    }
    if (std::ranges::find(answered_, name, &predict::AnsweredBy::model) == answered_.end()) {
      answered_.push_back({name, version});
    }
    return std::nullopt;
  }

  // By the route that the step names, if it is one.
  void Count(const std::string& name, const backend::ModelVersion& model,
             const std::variant<RowResults, http::Problem>& answer, Clock::duration took) const {
    int status = 200;
    http::Report report;
    if (const auto* problem = std::get_if<http::Problem>(&answer)) {
      status = problem->status;
    } else {
      const auto& found = std::get<RowResults>(answer);
      report.version = found.version;
      report.pictures = found.results.size();
      for (const vision::Result& result : found.results) {
        report.findings += predict::CountOf(result);
      }
    }
    http::CountByRoute(exchange_, services_, name, model, report, status, took);
  }

  static std::size_t CountAtOnce(std::span<const Crop> crops) {
    std::int64_t pixels = 0;
    std::size_t count = 0;
    while (count < crops.size()) {
      const Crop& crop = crops[count];
      pixels += std::int64_t{crop.size.width} * crop.size.height;
      if (pixels > kMaxPixelsAtOnce && count > 0) break;
      ++count;
    }
    return count;
  }

  // Asks about these pixels, and once more when the model is another one by now.
  std::variant<RowResults, http::Problem> Ask(const std::string& name,
                                              const std::vector<cv::Mat>& pixels,
                                              std::shared_ptr<const backend::Model>& model) {
    const auto way = predict::ModelFor(exchange_, services_, name);
    if (!way) return Missing(absl::NotFoundError(""), name);
    const backend::ModelVersion& asked = *way;
    const auto known = services_.catalog.Get(asked, exchange_.limits.deadline);
    if (!known.ok()) return Missing(known.status(), name);
    model = *known;
    auto first = AskOnce(name, pixels, model);
    if (auto* found = std::get_if<RowResults>(&first)) return std::move(*found);
    auto& failure = std::get<predict::Failure>(first);
    auto now = predict::AskAnew(exchange_, services_, asked, failure);
    if (now == nullptr) return std::move(failure.problem);
    model = std::move(now);
    auto second = AskOnce(name, pixels, model);
    if (auto* found = std::get_if<RowResults>(&second)) return std::move(*found);
    return std::move(std::get<predict::Failure>(second).problem);
  }

  std::variant<RowResults, predict::Failure> AskOnce(
      const std::string& name, const std::vector<cv::Mat>& pixels,
      const std::shared_ptr<const backend::Model>& model) {
    using predict::Failure;
    if (!model->plan.ok()) return Failure{http::PlanProblem(model->plan.status(), name)};
    const vision::ModelPlan& plan = *model->plan;
    if (const absl::Status admits = services_.inference.CheckAdmits(*model); !admits.ok()) {
      return Failure{http::BackendProblem(admits, name), model, admits, /*sent=*/false};
    }
    std::vector<std::string> files;  // of a model that decodes pictures itself
    std::vector<predict::ModelRow> rows;
    files.reserve(pixels.size());
    for (const cv::Mat& crop : pixels) {
      predict::ModelRow row{.pixels = crop, .placement = vision::Place(plan.input, crop.size())};
      if (plan.input_kind != vision::InputKind::kPixels) {
        const http::StageTimer timer(times_, Stage::kPreprocess);
        if (auto late = predict::TooLate(exchange_.limits, name)) return Failure{*std::move(late)};
        auto file = vision::EncodePicture(crop, vision::Encoding::kPng);
        if (!file.ok()) return Failure{http::PictureProblem(file.status())};
        row.file = files.emplace_back(*std::move(file));
        row.pixels.release();
      }
      rows.push_back(std::move(row));
    }
    const Config::Predict& defaults = services_.config.predict;
    return predict::InferRows(
        exchange_, services_,
        {.model = model,
         .rows = std::move(rows),
         .options = {.confidence = static_cast<float>(defaults.confidence),
                     .iou = static_cast<float>(defaults.iou),
                     .max_detections = static_cast<std::size_t>(defaults.max_detections)}},
        times_);
  }

  http::Problem Missing(const absl::Status& status, const std::string& name) const {
    http::Problem problem = http::BackendProblem(status, name);
    if (absl::IsNotFound(status)) {
      problem.detail =
          fmt::format("the pipeline {} asks the model {}: {}", pipeline_, name, problem.detail);
    }
    return problem;
  }

  http::Problem Unusable(const std::string& model, std::string_view reason) const {
    return http::PlanProblem(
        absl::FailedPreconditionError(fmt::format("the pipeline {} does not fit its models: {} {}",
                                                  pipeline_, model, reason)),
        model);
  }

  const http::Exchange& exchange_;
  const http::Services& services_;
  const std::string& pipeline_;
  const predict::SharedPicture& picture_;
  std::vector<predict::AnsweredBy>& answered_;
  Seqlock<Task>& task_;
  http::StageTimes& times_;
};

}  // namespace

std::vector<Place> Choose(const std::vector<const vision::Detections*>& lists,
                          const std::vector<std::string>& class_names, const Config::Step& step) {
  std::vector<Place> chosen;
  for (std::size_t list = 0; list < lists.size(); ++list) {
    for (std::size_t at = 0; at < lists[list]->size(); ++at) {
      const vision::Detection& found = (*lists[list])[at];
      const bool is_of_class =
          step.classes.empty() ||
          std::ranges::find(step.classes, ClassName(class_names, found.class_id)) !=
              step.classes.end();
      if (is_of_class && static_cast<double>(found.confidence) >= step.min_confidence &&
          ShorterSide(found) >= static_cast<float>(step.min_size)) {
        chosen.push_back({list, at});
      }
    }
  }
  std::ranges::stable_sort(chosen, std::ranges::greater(), [&](const Place& place) {
    return (*lists[place.list])[place.at].confidence;
  });
  chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(step.most)));
  return chosen;
}

std::optional<http::Problem> AskSteps(const http::Exchange& exchange,
                                      const http::Services& services, const StepsQuestion& question,
                                      const Config::Step& first, predict::Prediction& prediction,
                                      Seqlock<Task>& task, http::StageTimes& times) {
  predict::PipelineAnswer& answer = *prediction.pipeline;
  Steps steps(exchange, services, question, answer.steps, task, times);
  auto* detections = std::get_if<vision::Detections>(&prediction.result);
  if (detections == nullptr) {
    if (first.each.empty()) return std::nullopt;
    return steps.HasNoPlaces(first);
  }
  return steps.AskBelow(first, *prediction.model, {{detections, &answer.found}});
}

}  // namespace inferpool::analyze
