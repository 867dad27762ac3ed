// Pictures of several questions in one call of the model.
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "worker/http/exchange.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/predict/picture_inference.h"

namespace inferpool::predict {

// One question; all are of the calling thread.
struct GroupItem {
  const http::Exchange& exchange;
  const PictureQuestion& question;
  Seqlock<Task>& task;
  http::StageTimes& times;
};

// As InferPicture of each, in their order, and with the same results, but with fewer calls and one
// thread: the pictures are decoded one after the other, each straight into its row. Those that are
// looked at as a whole, by one model at one size, share calls; a picture that needs more, or whose
// call failed, goes the way of InferPicture. A shared call has the first item's deadline.
[[nodiscard]] std::vector<std::variant<Prediction, http::Problem>> InferGroup(
    const http::Services& services, std::span<const GroupItem> items);

}  // namespace inferpool::predict
