// What becomes of one picture and one model: quarantine, header, limits, decode, letterbox, model,
// detections.
#pragma once

#include <memory>
#include <opencv2/core/types.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "worker/backend/catalog.h"
#include "worker/http/exchange.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/predict/picture.h"
#include "worker/vision/postprocess.h"
#include "worker/vision/tiles.h"

namespace inferpool::predict {

struct Prediction {
  std::shared_ptr<const backend::Model> model;
  std::string version;  // of the model that answered
  cv::Size picture;     // the upright picture's
  // The upright picture, perhaps at a smaller scale. Empty when the model server decodes it, or
  // when the caller did not ask for it.
  Pixels pixels;
  vision::TileGrid tiles = {};  // that were looked at besides the whole; 1 x 1: none
  vision::Result result;
};

struct PictureQuestion {
  backend::ModelVersion model;
  std::string_view picture;  // the bytes as uploaded
  const http::PredictParameters& parameters;
  bool keep_pixels = false;  // the prediction needs them
  // The model as the request has found it; null: the catalog's.
  std::shared_ptr<const backend::Model> known = nullptr;
};

// Runs one picture through a model: the part that the request asks about, and its tiles as further
// rows, which share one decoding and whose results are merged. Tiles take turns of the key's rate.
// Thread safe: a batch calls it for several pictures of one
// exchange at a time, each time with another `task` and `times`.
//
// `task` is where the crash handler looks for what the thread is working on; it names this picture
// from here on. `times` has the stages that were reached. Returns a problem as soon as there is
// one, and soon after the client has left. When the model turns out to have moved to another
// server, or to be another one by now, it is done again with what it is now, once.
[[nodiscard]] std::variant<Prediction, http::Problem> InferPicture(const http::Exchange& exchange,
                                                                   const http::Services& services,
                                                                   const PictureQuestion& question,
                                                                   Seqlock<Task>& task,
                                                                   http::StageTimes& times);

}  // namespace inferpool::predict
