// Parts of decoded pixels through a model: each is a row of its input.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <opencv2/core/mat.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shared/board/heavy_steps.h"
#include "worker/backend/catalog.h"
#include "worker/http/exchange.h"
#include "worker/http/problem.h"
#include "worker/http/stage_times.h"
#include "worker/vision/postprocess.h"

namespace inferpool::predict {

// One row. Copies share the pixels.
struct ModelRow {
  cv::Mat pixels;              // as vision::WriteInput takes them; empty when `file` is sent
  std::string_view file = {};  // for a model that decodes pictures itself
  vision::Placement placement;
};

struct RowsQuestion {
  std::shared_ptr<const backend::Model> model;  // whose plan is ok
  std::vector<ModelRow> rows;                   // at least one
  const vision::Options& options;
  // Of the rows' pixels, which all rows share. Gives the processor back before the model is asked,
  // and ends as soon as the rows are written, unless the caller keeps the pixels. Null: it is the
  // caller's own.
  HeavyStep* step = nullptr;
  bool keep_pixels = false;
  // Most rows of one call, at least 1, where the model takes more.
  std::size_t most_rows = std::numeric_limits<std::size_t>::max();
};

struct RowResults {
  std::vector<vision::Result> results;  // in the order of the rows, in the picture's pixels
  std::string version;                  // of the model that answered
};

// Why there is no result; with the model and the status when these say that the model may be gone,
// or another one by now.
struct Failure {
  http::Problem problem;
  std::shared_ptr<const backend::Model> model = nullptr;
  absl::Status status = absl::OkStatus();
  bool sent = true;  // the model server was called
};

// Writes the rows, asks the model and reads its answers. Rows of one shape go in one call, as many
// as the model takes; one that is alone may join a batch of other requests. The rows' pixels are
// let go once they are written. All have a result, or there is a failure. Thread safe.
[[nodiscard]] std::variant<RowResults, Failure> InferRows(const http::Exchange& exchange,
                                                          const http::Services& services,
                                                          RowsQuestion question,
                                                          http::StageTimes& times);

}  // namespace inferpool::predict
