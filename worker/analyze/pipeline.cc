#include "worker/analyze/pipeline.h"

#include <memory>
#include <string>
#include <utility>

#include "worker/analyze/steps.h"
#include "worker/http/lead.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture.h"
#include "worker/predict/pipelines.h"

namespace inferpool::analyze {
namespace {

using predict::PictureQuestion;
using predict::Prediction;
using predict::SharedPicture;

// The way of a picture that is decoded. The question knows the first model.
std::variant<Prediction, http::Problem> Ask(const http::Exchange& exchange,
                                            const http::Services& services,
                                            const Config::Step& pipeline,
                                            const PictureQuestion& question, Seqlock<Task>& task,
                                            http::StageTimes& times) {
  PictureQuestion first = question;
  first.model = question.known->asked();
  first.keep_pixels = false;
  auto asked = InferByRoute(exchange, services, pipeline.model, first, task, times);
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

void CountByRoute(const http::Exchange& exchange, const http::Services& services,
                  const std::string& name, const backend::ModelVersion& model,
                  const std::variant<Prediction, http::Problem>& answer, Clock::duration took) {
  int status = 200;
  http::Report report;
  if (const auto* problem = std::get_if<http::Problem>(&answer)) {
    status = problem->status;
  } else {
    const auto& prediction = std::get<Prediction>(answer);
    report.version = prediction.version;
    report.pictures = 1;
    report.findings = predict::CountOf(prediction.result);
  }
  http::CountByRoute(exchange, services, name, model, report, status, took);
}

std::variant<Prediction, http::Problem> InferByRoute(const http::Exchange& exchange,
                                                     const http::Services& services,
                                                     const std::string& name,
                                                     const PictureQuestion& question,
                                                     Seqlock<Task>& task, http::StageTimes& times) {
  const TimePoint begun = Clock::now();
  auto answer = predict::InferPicture(exchange, services, question, task, times);
  CountByRoute(exchange, services, name, question.model, answer, Clock::now() - begun);
  return answer;
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
  // A refusal is prompt, however large the picture.
  auto known = predict::FindModel(exchange, services, pipeline.model);
  if (auto* problem = std::get_if<http::Problem>(&known)) return std::move(*problem);
  auto decoded = predict::DecodePicture(exchange, shared.picture, /*reduction=*/1, name, times);
  if (auto* problem = std::get_if<http::Problem>(&decoded)) return std::move(*problem);
  auto& pixels = std::get<predict::Pixels>(decoded);
  shared.bgr = pixels.bgr;
  pixels.step.Keep(pixels.bgr.total() * pixels.bgr.elemSize());
  PictureQuestion of_decoded = question;
  of_decoded.shared = &shared;
  of_decoded.known = std::get<std::shared_ptr<const backend::Model>>(std::move(known));
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
