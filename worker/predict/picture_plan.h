// What is to be done for one picture and one model, before the picture is decoded.
#pragma once

#include <memory>
#include <variant>

#include "worker/backend/catalog.h"
#include "worker/http/exchange.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/predict/model_rows.h"
#include "worker/predict/picture.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/views.h"
#include "worker/vision/postprocess.h"

namespace inferpool::predict {

struct PicturePlan {
  Picture picture;
  std::shared_ptr<const backend::Model> model;  // whose plan is ok
  vision::Options options;
  Views views;  // unreduced
};

// Opens the picture, finds the model and what the request wants of it; `task` names the picture
// from here on. Tiles take turns of the key's rate, unless they have (`turns_taken`).
[[nodiscard]] std::variant<PicturePlan, Failure> PlanPicture(const http::Exchange& exchange,
                                                             const http::Services& services,
                                                             const PictureQuestion& question,
                                                             Seqlock<Task>& task,
                                                             bool& turns_taken);

// Decodes it no larger than the model needs, and reduces the views to that.
[[nodiscard]] std::variant<Pixels, http::Problem> DecodePlanned(const http::Exchange& exchange,
                                                                const http::Services& services,
                                                                PicturePlan& plan,
                                                                http::StageTimes& times);

}  // namespace inferpool::predict
