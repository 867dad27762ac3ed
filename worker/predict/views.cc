#include "worker/predict/views.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "worker/predict/wanted.h"
#include "worker/vision/reduction.h"
#include "worker/vision/tile_merge.h"

namespace inferpool::predict {

std::variant<Views, http::Problem> ViewsOf(const Picture& picture, const vision::ModelPlan& plan,
                                           const http::PredictParameters& parameters,
                                           const Config& config) {
  auto region = RegionOf(parameters, picture.size);
  if (auto* problem = std::get_if<http::Problem>(&region)) return std::move(*problem);
  const auto& part = std::get<cv::Rect>(region);
  Views views{.tiles = TilesOf(parameters, plan, part, config.predict.tiles),
              .placements = {vision::Place(plan.input, picture.size, part)}};
  if (views.tiles == vision::TileGrid()) return views;
  for (const cv::Rect& tile : vision::CutIntoTiles(part, views.tiles, parameters.tile_overlap)) {
    views.placements.push_back(vision::Place(plan.input, picture.size, tile));
  }
  return views;
}

int LargestReduction(const Picture& picture, const Views& views) {
  int reduction = vision::LargestReduction(picture.header, views.placements.front());
  for (const vision::Placement& placement : views.placements) {
    reduction = std::min(reduction, vision::LargestReduction(picture.header, placement));
  }
  return reduction;
}

void Reduce(const Picture& picture, int reduction, Views& views) {
  for (vision::Placement& placement : views.placements) {
    placement = vision::AtReduction(picture.header, placement, reduction);
  }
}

vision::Result MergeResults(const Views& views, std::vector<vision::Result> results,
                            const vision::Options& options) {
  if (results.size() == 1) return std::move(results.front());
  std::vector<vision::FoundInPart> parts;
  for (std::size_t i = 0; i < results.size(); ++i) {
    // Only models that find things are asked about tiles.
    parts.push_back(
        {views.placements[i].view, std::get<vision::Detections>(std::move(results[i]))});
  }
  return vision::MergeTiles(std::move(parts), {.iou = options.iou,
                                               .max_detections = options.max_detections,
                                               .class_agnostic = options.class_agnostic});
}

}  // namespace inferpool::predict
