// The views of a picture: the part of it that a request asks about, and its tiles, which a model
// sees as rows of one batch.
#pragma once

#include <variant>
#include <vector>

#include "shared/config/config.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/predict/picture.h"
#include "worker/vision/postprocess.h"
#include "worker/vision/tiles.h"

namespace inferpool::predict {

struct Views {
  vision::TileGrid tiles;                     // 1 x 1: none
  std::vector<vision::Placement> placements;  // the whole part first, then its tiles

  int tile_count() const { return static_cast<int>(placements.size()) - 1; }
};

// Returns the views of a picture for a model that OptionsFor (wanted.h) lets through, unreduced.
// The problem is RegionOf's.
[[nodiscard]] std::variant<Views, http::Problem> ViewsOf(const Picture& picture,
                                                         const vision::ModelPlan& plan,
                                                         const http::PredictParameters& parameters,
                                                         const Config& config);

// Returns the largest reduction (worker/vision/reduction.h) at which every view still has enough
// pixels.
int LargestReduction(const Picture& picture, const Views& views);

// Adjusts the views to a picture that is decoded with `reduction`.
void Reduce(const Picture& picture, int reduction, Views& views);

// Makes one result of those of the views, which are in their order and were read with `options`.
vision::Result MergeResults(const Views& views, std::vector<vision::Result> results,
                            const vision::Options& options);

}  // namespace inferpool::predict
