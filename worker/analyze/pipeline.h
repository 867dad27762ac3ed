// One picture through a pipeline: a model, and below it models that are asked about what it has
// found (shared/config/pipelines_key.h).
#pragma once

#include <string>
#include <variant>

#include "shared/config/config.h"
#include "worker/http/exchange.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/predict/picture_inference.h"

namespace inferpool::analyze {

// Counts an answer of `model`, which took that long, by the route that `name` is, if it is one and
// has led to that model.
void CountByRoute(const http::Exchange& exchange, const http::Services& services,
                  const std::string& name, const backend::ModelVersion& model,
                  const std::variant<predict::Prediction, http::Problem>& answer,
                  Clock::duration took);

// As predict::InferPicture, counted by the route that `name` is, if it is one and has led to the
// question's model.
std::variant<predict::Prediction, http::Problem> InferByRoute(
    const http::Exchange& exchange, const http::Services& services, const std::string& name,
    const predict::PictureQuestion& question, Seqlock<Task>& task, http::StageTimes& times);

// Answers a question, whose model is the pipeline's name, by asking `pipeline`'s models one after
// the other. The first one is asked about the picture with the question's parameters; each step
// below about parts of the picture, all of them together, with the configuration's parameters. A
// model is asked again when it turns out to be another one by now. All have an answer, or there is
// a problem: that of the first model that has one.
//
// A crash is blamed on the picture and the model that was at work on it. The picture is decoded
// once, at full scale, or comes decoded so with the question, which then knows the first model.
// Thread safe, as InferPicture.
std::variant<predict::Prediction, http::Problem> AskPipeline(
    const http::Exchange& exchange, const http::Services& services, const Config::Step& pipeline,
    const predict::PictureQuestion& question, Seqlock<Task>& task, http::StageTimes& times);

// That as an answerer, for a pipeline that outlives it.
predict::Answerer AnswererOf(const Config::Step& pipeline);

}  // namespace inferpool::analyze
