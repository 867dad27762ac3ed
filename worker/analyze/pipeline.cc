#include "worker/analyze/pipeline.h"

#include <fmt/format.h>

#include <utility>

#include "worker/analyze/steps.h"
#include "worker/predict/picture.h"

namespace inferpool::analyze {
namespace {

using predict::PictureQuestion;
using predict::Prediction;
using predict::SharedPicture;

std::optional<http::Problem> CheckKeyOfSteps(const http::Exchange& exchange,
                                             const std::string& name, const Config::Step& step) {
  for (const std::string* model : {&step.model, &step.turn}) {
    if (model->empty() || exchange.MayUse(*model)) continue;
    return http::Forbidden(fmt::format(
        "this API key may not use the model {}, which the pipeline {} asks", *model, name));
  }
  for (const Config::Step& below : step.each) {
    if (auto problem = CheckKeyOfSteps(exchange, name, below)) return problem;
  }
  return std::nullopt;
}

// The way of a picture that is decoded.
std::variant<Prediction, http::Problem> Ask(const http::Exchange& exchange,
                                            const http::Services& services,
                                            const Config::Step& pipeline,
                                            const PictureQuestion& question, Seqlock<Task>& task,
                                            http::StageTimes& times) {
  PictureQuestion first = question;
  first.model = http::Led(exchange, services, pipeline.model);
  first.keep_pixels = false;
  auto asked = predict::InferPicture(exchange, services, first, task, times);
  if (auto* problem = std::get_if<http::Problem>(&asked)) return std::move(*problem);
  auto& prediction = std::get<Prediction>(asked);
  prediction.pipeline.emplace();
  prediction.pipeline->name = question.model.name;
  prediction.pipeline->steps.push_back({pipeline.model, prediction.version});
  const StepsQuestion steps{.pipeline = question.model.name, .picture = *question.shared};
  if (auto problem = AskSteps(exchange, services, steps, pipeline, prediction, task, times)) {
    return *std::move(problem);
  }
  return std::move(prediction);
}

}  // namespace

const Config::Step* FindPipeline(const Config& config, const std::string& name) {
  const auto found = config.pipelines.find(name);
  return found == config.pipelines.end() ? nullptr : &found->second;
}

std::optional<http::Problem> CheckKey(const http::Exchange& exchange, const std::string& name,
                                      const Config::Step& pipeline) {
  return CheckKeyOfSteps(exchange, name, pipeline);
}

std::variant<Prediction, http::Problem> AskPipeline(const http::Exchange& exchange,
                                                    const http::Services& services,
                                                    const Config::Step& pipeline,
                                                    const PictureQuestion& question,
                                                    Seqlock<Task>& task, http::StageTimes& times) {
  if (question.shared != nullptr) {
    return Ask(exchange, services, pipeline, question, task, times);
  }
  const std::string& name = question.model.name;
  auto opened = predict::OpenPicture(exchange, services, question.picture, name, task);
  if (auto* problem = std::get_if<http::Problem>(&opened)) return std::move(*problem);
  SharedPicture shared{.picture = std::get<predict::Picture>(opened), .bgr = {}};
  auto decoded = predict::DecodePicture(exchange, shared.picture, /*reduction=*/1, name, times);
  if (auto* problem = std::get_if<http::Problem>(&decoded)) return std::move(*problem);
  auto& pixels = std::get<predict::Pixels>(decoded);
  shared.bgr = pixels.bgr;
  if (!question.one_of_several) pixels.step.Keep(pixels.bgr.total() * pixels.bgr.elemSize());
  PictureQuestion of_decoded = question;
  of_decoded.shared = &shared;
  auto answer = Ask(exchange, services, pipeline, of_decoded, task, times);
  if (auto* prediction = std::get_if<Prediction>(&answer); prediction && question.keep_pixels) {
    prediction->pixels = std::move(pixels);
  }
  return answer;
}

predict::Answerer AnswererOf(const Config::Step& pipeline) {
  return
      [&pipeline](const http::Exchange& exchange, const http::Services& services,
                  const PictureQuestion& question, Seqlock<Task>& task, http::StageTimes& times) {
        return AskPipeline(exchange, services, pipeline, question, task, times);
      };
}

}  // namespace inferpool::analyze
