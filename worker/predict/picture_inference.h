// What becomes of one picture and one model: quarantine, header, limits, decode, letterbox, model,
// detections.
#pragma once

#include <functional>
#include <memory>
#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "worker/backend/catalog.h"
#include "worker/http/exchange.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/predict/found.h"
#include "worker/predict/model_rows.h"
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
  std::optional<PipelineAnswer> pipeline = {};  // when it was a pipeline that was asked
};

// A picture that several models are asked about, opened and decoded once for all of them; or one
// that came as pixels and has no file.
struct SharedPicture {
  Picture picture;
  cv::Mat bgr;  // as Pixels has it; empty: all models take the file
  int reduction = 1;
};

struct PictureQuestion {
  backend::ModelVersion model;
  std::string_view picture;  // the bytes as uploaded
  const http::PredictParameters& parameters;
  bool keep_pixels = false;  // the prediction needs them
  // The model as the request has found it; null: the catalog's.
  std::shared_ptr<const backend::Model> known = nullptr;
  // The picture, where it is decoded already; whoever has decoded it keeps the heavy step. Null: it
  // is opened and decoded.
  const SharedPicture* shared = nullptr;
  bool one_of_several = false;  // as OptionsFor (wanted.h) has it
};

// The largest reduction (worker/vision/reduction.h) at which the picture has enough pixels for all
// that the request asks this model about.
[[nodiscard]] int ReductionFor(const vision::ModelPlan& plan,
                               const http::PredictParameters& parameters, const Picture& picture,
                               const Config& config);

// The model as it is now, when that is worth another try after this failure; null otherwise.
[[nodiscard]] std::shared_ptr<const backend::Model> AskAnew(const http::Exchange& exchange,
                                                            const http::Services& services,
                                                            const backend::ModelVersion& asked,
                                                            const Failure& failure);

// How a question about a picture is answered: by InferPicture, or by a pipeline. The arguments are
// InferPicture's.
using Answerer = std::function<std::variant<Prediction, http::Problem>(
    const http::Exchange& exchange, const http::Services& services, const PictureQuestion& question,
    Seqlock<Task>& task, http::StageTimes& times)>;

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
