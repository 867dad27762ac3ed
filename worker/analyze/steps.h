// The steps of a pipeline below the first one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "shared/config/config.h"
#include "worker/http/exchange.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/predict/picture_inference.h"
#include "worker/vision/postprocess.h"

namespace inferpool::analyze {

struct StepsQuestion {
  const std::string& pipeline;            // its name
  const predict::SharedPicture& picture;  // decoded at full scale
};

// Asks the steps below `first`, level by level, about what `prediction` (the first one's) has, and
// puts into it what they have found: in prediction.pipeline, and what is read there as the text of
// the detection. Puts detections into the order of reading where a step says so.
std::optional<http::Problem> AskSteps(const http::Exchange& exchange,
                                      const http::Services& services, const StepsQuestion& question,
                                      const Config::Step& first, predict::Prediction& prediction,
                                      Seqlock<Task>& task, http::StageTimes& times);

// A detection among the lists of several.
struct Place {
  std::size_t list;
  std::size_t at;

  bool operator==(const Place&) const = default;
};

// Which detections a step is asked about, the most confident first, equal ones in their order.
// `class_names`: the names of their classes, where the model has some. Pure.
std::vector<Place> Choose(const std::vector<const vision::Detections*>& lists,
                          const std::vector<std::string>& class_names, const Config::Step& step);

}  // namespace inferpool::analyze
