// A request's picture: looked at once, and decoded once for all models that are asked about it.
#pragma once

#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "shared/board/heavy_steps.h"
#include "shared/board/scoreboard.h"
#include "shared/pictures/header.h"
#include "worker/http/exchange.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"

namespace inferpool::predict {

// The problem to answer with when work on the request should stop: the client disconnected, or the
// deadline passed. nullopt otherwise.
[[nodiscard]] std::optional<http::Problem> TooLate(const backend::CallLimits& limits,
                                                   const std::string& model);

struct Picture {
  std::string_view file;  // the bytes as uploaded
  Digest digest;          // the quarantine's
  vision::Header header = {};
  cv::Size size = {};  // upright
};

// Says that the calling thread works on the picture for this model: `task` is where the crash
// handler looks. From here on a crash is blamed on the two. A problem when they are known to crash
// workers.
[[nodiscard]] std::optional<http::Problem> Blame(const http::Exchange& exchange,
                                                 const http::Services& services,
                                                 const Digest& picture, const std::string& model,
                                                 Seqlock<Task>& task);

// Blames as above, and reads the picture's header. A problem when it is no picture that we take, or
// has more pixels than the configuration allows.
[[nodiscard]] std::variant<Picture, http::Problem> OpenPicture(const http::Exchange& exchange,
                                                               const http::Services& services,
                                                               std::string_view file,
                                                               const std::string& model,
                                                               Seqlock<Task>& task);

// The pixels of a picture, and the heavy step that has their memory.
struct Pixels {
  cv::Mat bgr;  // upright, the sides divided by the reduction
  HeavyStep step = {};
};

// Decodes the picture with `reduction` (worker/vision/reduction.h). The step goes on, so that the
// work with the pixels is part of it. `model` is for the problem's text.
[[nodiscard]] std::variant<Pixels, http::Problem> DecodePicture(const http::Exchange& exchange,
                                                                const Picture& picture,
                                                                int reduction,
                                                                const std::string& model,
                                                                http::StageTimes& times);

}  // namespace inferpool::predict
