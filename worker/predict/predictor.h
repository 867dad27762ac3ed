// One picture's way: header, limits, decode, letterbox, model, detections.
#pragma once

#include <memory>
#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "shared/base/deadline.h"
#include "shared/board/heavy_steps.h"
#include "shared/config/config.h"
#include "worker/backend/catalog.h"
#include "worker/backend/inference_client.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/http/timings.h"
#include "worker/vision/postprocess.h"

namespace inferpool::api {

struct Prediction {
  std::shared_ptr<const backend::Model> model;
  std::string version;  // of the model that answered
  cv::Size picture;     // upright
  cv::Mat pixels;       // upright, perhaps at a smaller scale; none when the server decodes, or
                        // when nobody wants them
  HeavyStep step = {};  // keeps the memory of `pixels`
  vision::Result result;
};

// Why it makes no sense to go on with a request: its client has left, or its time is over. Nothing
// while it does.
std::optional<Problem> TooLate(const backend::CallLimits& limits, const std::string& model);

// What HeavySteps::Begin said, as a problem: 503, or that the client has left.
Problem HeavyProblem(const absl::Status& status);

// Thread safe. Everything passed by reference must outlive it.
class Predictor {
 public:
  Predictor(const Config& config, backend::InferenceClient& inference, backend::Catalog& catalog)
      : config_(config), inference_(inference), catalog_(catalog) {}

  // `picture`: the bytes as uploaded. `keep_pixels`: the prediction shall have them. Sets the
  // stages that it reaches. Gives up, with ClientLeft, when the call's token is stopped.
  std::variant<Prediction, Problem> Predict(const std::string& model, std::string_view picture,
                                            const PredictParameters& parameters, bool keep_pixels,
                                            HeavySteps& heavy, const backend::CallLimits& limits,
                                            Timings& timings) const;

 private:
  const Config& config_;
  backend::InferenceClient& inference_;
  backend::Catalog& catalog_;
};

}  // namespace inferpool::api
