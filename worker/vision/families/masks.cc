#include "worker/vision/families/masks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string_view>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/nms_free_decoders.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

// A table and prototypes that go together by their shapes alone.
struct Heads {
  const OutputFact* table = nullptr;
  const OutputFact* prototypes = nullptr;
  std::int64_t planes = 0;
};

std::optional<Heads> FindHeads(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  const auto planes = facts.OfRank(3);
  if (table == nullptr || planes.size() != 1 || facts.outputs.size() != 2 ||
      planes.front()->row[0] < 1) {
    return std::nullopt;
  }
  return Heads{table, planes.front(), planes.front()->row[0]};
}

absl::StatusOr<Heads> NeedHeads(const OutputFacts& facts, std::size_t dimension,
                                std::int64_t least) {
  const auto heads = FindHeads(facts);
  if (!heads || (heads->table->row[dimension] != kAny &&
                 heads->table->row[dimension] < least + heads->planes)) {
    return absl::FailedPreconditionError("there are not two outputs that go together so");
  }
  return *heads;
}

// The cells of the prototypes that a stretch of the input covers, and one more on each side for
// what interpolation takes from there.
cv::Range Cells(float from, float to, double scale, int count) {
  const int first = static_cast<int>(std::floor(static_cast<double>(from) / scale)) - 1;
  const int last = static_cast<int>(std::ceil(static_cast<double>(to) / scale)) + 1;
  return {std::clamp(first, 0, count - 1), std::clamp(last, 1, count)};
}

// The whole pixels of the input whose centres lie in the box, as far as the box lies in it.
cv::Rect PixelsOf(const Candidate& box, cv::Size input) {
  const auto range = [](float from, float to, int max) {
    const auto pixel = [max](float at) {
      return static_cast<int>(std::clamp(std::round(at), 0.0F, static_cast<float>(max)));
    };
    return cv::Range(pixel(from), pixel(to));
  };
  const cv::Range x = range(box.x1, box.x2, input.width);
  const cv::Range y = range(box.y1, box.y2, input.height);
  return {x.start, y.start, x.size(), y.size()};
}

absl::Status CheckPrototypes(const ModelPlan& plan, const Numbers& prototypes, std::size_t planes) {
  if (prototypes.shape()[0] != planes || prototypes.values().empty()) {
    return absl::InternalError(
        fmt::format("the model's output {} has {} planes, and there are {} "
                    "coefficients",
                    plan.outputs[1], prototypes.shape()[0], planes));
  }
  return absl::OkStatus();
}

// The details of a candidate whose coefficients `of` reads.
template <typename Of>
Details MaskDetails(const Numbers& prototypes, cv::Size input, Of of) {
  return [&prototypes, input, of, corners = std::size_t{0}](
             const Candidate& candidate, Detection& detection) mutable -> absl::Status {
    ASSIGN_OR_RETURN(detection.mask, OutlinesOf(prototypes, of(candidate), candidate, input));
    for (const Polygon& polygon : detection.mask) {
      corners += polygon.size();
    }
    return corners <= kMaxMaskCorners
               ? absl::OkStatus()
               : absl::InternalError(fmt::format(
                     "the model's masks have too many corners, more than {}", kMaxMaskCorners));
  };
}

}  // namespace

absl::StatusOr<std::vector<Polygon>> OutlinesOf(const Numbers& prototypes,
                                                std::span<const float> coefficients,
                                                const Candidate& box, cv::Size input) {
  constexpr double kStraight = 0.5;  // pixel
  const int rows = static_cast<int>(prototypes.shape()[1]);
  const int columns = static_cast<int>(prototypes.shape()[2]);
  const cv::Rect inside = PixelsOf(box, input);
  if (inside.empty() || rows == 0 || columns == 0) {
    return std::vector<Polygon>();
  }
  // As many pixels as the box has, or larger ones.
  const cv::Size grid(std::min(inside.width, kMaxMaskSide), std::min(inside.height, kMaxMaskSide));
  const double step_x = static_cast<double>(inside.width) / grid.width;
  const double step_y = static_cast<double>(inside.height) / grid.height;
  const double scale_x = static_cast<double>(input.width) / columns;
  const double scale_y = static_cast<double>(input.height) / rows;
  const cv::Range x = Cells(box.x1, box.x2, scale_x, columns);
  const cv::Range y = Cells(box.y1, box.y2, scale_y, rows);

  constexpr int kMaxSums = 32'767;  // that OpenCV interpolates
  cv::Mat sums(y.size(), x.size(), CV_32F, cv::Scalar(0));
  for (std::size_t plane = 0; plane < coefficients.size(); ++plane) {
    const std::size_t first = plane * prototypes.shape()[1] * prototypes.shape()[2];
    // OpenCV takes no pointer to const.
    const cv::Mat whole(rows, columns, CV_32F,
                        const_cast<float*>(prototypes.values().data() + first));
    cv::scaleAdd(whole(y, x), static_cast<double>(coefficients[plane]), sums, sums);
  }
  if (std::max(sums.cols, sums.rows) >= kMaxSums) {
    return absl::InternalError("the model's masks are too large");
  }
  if (!cv::checkRange(sums)) {
    return absl::InternalError("the model's masks have a value that is not a finite number");
  }
  // Each pixel's centre in the cells' coordinates, as torch's bilinear interpolation has it.
  const cv::Matx23d to_cells(
      step_x / scale_x, 0, (inside.x + step_x / 2) / scale_x - 0.5 - x.start,  //
      0, step_y / scale_y, (inside.y + step_y / 2) / scale_y - 0.5 - y.start);
  cv::Mat pixels;
  cv::warpAffine(sums, pixels, to_cells, grid, cv::INTER_LINEAR | cv::WARP_INVERSE_MAP,
                 cv::BORDER_REPLICATE);
  const cv::Mat mask = pixels > 0;

  std::vector<std::vector<cv::Point>> outlines;
  cv::findContours(mask, outlines, cv::RETR_EXTERNAL, cv::CHAIN_APPROX_SIMPLE);
  std::stable_sort(outlines.begin(), outlines.end(), [](const auto& a, const auto& b) {
    return cv::contourArea(a) > cv::contourArea(b);
  });
  std::vector<Polygon> polygons;
  for (const std::vector<cv::Point>& outline : outlines) {
    if (polygons.size() == kMaxMaskParts) {
      break;
    }
    std::vector<cv::Point> corners;
    cv::approxPolyDP(outline, corners, kStraight, /*closed=*/true);
    if (corners.size() < 3) {
      continue;
    }
    Polygon& polygon = polygons.emplace_back();
    polygon.reserve(corners.size());
    for (const cv::Point& corner : corners) {
      polygon.push_back({static_cast<float>(inside.x + (corner.x + 0.5) * step_x),
                         static_cast<float>(inside.y + (corner.y + 0.5) * step_y)});
    }
  }
  return polygons;
}

bool ClaimsYoloV8Segment(const OutputFacts& facts) {
  const auto heads = FindHeads(facts);
  if (!heads || facts.end2end) {
    return false;
  }
  const std::int64_t classes = heads->table->row[0] - 4 - heads->planes;
  return facts.names > 0 ? classes == facts.names
                         : classes >= 1 && FitsGrids(heads->table->row[1], facts.input, 1);
}

bool ClaimsSegmentNmsFree(const OutputFacts& facts) {
  const auto heads = FindHeads(facts);
  if (!heads) {
    return false;
  }
  const std::int64_t rows = heads->table->row[0];
  const bool few_rows = rows > 0 ? rows <= kMaxRows : facts.end2end;
  return few_rows && heads->table->row[1] == 6 + heads->planes;
}

absl::Status PlanYoloV8Segment(const OutputFacts& facts, ModelPlan& plan) {
  ASSIGN_OR_RETURN(const Heads heads, NeedHeads(facts, 0, 5));
  plan.outputs = {heads.table->spec->name, heads.prototypes->spec->name};
  plan.told_by_shape = facts.names == 0;
  return PlanClasses(facts, *heads.table, heads.table->row[0], 4 + heads.planes, plan);
}

absl::Status PlanSegmentNmsFree(const OutputFacts& facts, ModelPlan& plan) {
  ASSIGN_OR_RETURN(const Heads heads, NeedHeads(facts, 1, 6));
  if (heads.table->row[1] != kAny && heads.table->row[1] != 6 + heads.planes) {
    return absl::FailedPreconditionError("their lengths do not go together");
  }
  plan.outputs = {heads.table->spec->name, heads.prototypes->spec->name};
  plan.classes = static_cast<std::size_t>(facts.names);
  return absl::OkStatus();
}

absl::StatusOr<Result> DetectYoloV8Segment(const ModelPlan& plan,
                                           std::span<const TensorView> outputs,
                                           const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(outputs, plan.outputs[0], 2));
  ASSIGN_OR_RETURN(const Numbers prototypes, ReadOutput(outputs, plan.outputs[1], 3));
  const std::size_t planes = prototypes.shape()[0];
  RETURN_IF_ERROR(CheckPrototypes(plan, prototypes, planes));
  ASSIGN_OR_RETURN(Candidates candidates,
                   ReadYoloV8(plan, head, planes, options.LeastConfidence(), placement.input));
  const std::size_t first = head.shape()[0] - planes;
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kSuppress,
                MaskDetails(prototypes, placement.input, [&](const Candidate& candidate) {
                  std::vector<float> coefficients(planes);
                  for (std::size_t i = 0; i < planes; ++i) {
                    coefficients[i] = head.Row(first + i)[candidate.source];
                  }
                  return coefficients;
                }));
}

absl::StatusOr<Result> DetectSegmentNmsFree(const ModelPlan& plan,
                                            std::span<const TensorView> outputs,
                                            const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(outputs, plan.outputs[0], 2));
  ASSIGN_OR_RETURN(const Numbers prototypes, ReadOutput(outputs, plan.outputs[1], 3));
  const std::size_t planes = prototypes.shape()[0];
  RETURN_IF_ERROR(CheckPrototypes(plan, prototypes, planes));
  ASSIGN_OR_RETURN(Candidates candidates, ReadRows(plan, table, planes, options.LeastConfidence()));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep,
                MaskDetails(prototypes, placement.input, [&](const Candidate& candidate) {
                  const auto values = table.Row(candidate.source).subspan(6);
                  return std::vector<float>(values.begin(), values.end());
                }));
}

}  // namespace inferpool::vision
