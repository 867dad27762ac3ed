#include "worker/vision/families/turned_boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string_view>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/nms.h"
#include "worker/vision/families/nms_free_decoders.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

using TurnedBoxes = std::vector<TurnedBox>;

// The box as a normal distribution: its variances and covariance.
struct Covariance {
  double xx;
  double yy;
  double xy;
};

Covariance CovarianceOf(const TurnedBox& box) {
  const double along = static_cast<double>(box.width) * box.width / 12;
  const double across = static_cast<double>(box.height) * box.height / 12;
  const double cosine = std::cos(static_cast<double>(box.angle));
  const double sine = std::sin(static_cast<double>(box.angle));
  return {along * cosine * cosine + across * sine * sine,
          along * sine * sine + across * cosine * cosine, (along - across) * cosine * sine};
}

double Determinant(const Covariance& of) {
  return std::max(of.xx * of.yy - of.xy * of.xy, 0.0);
}

// A box whose covariance is computed once, and not for each other box.
struct SpreadBox : TurnedBox {
  Covariance covariance;
};

float Overlap(const SpreadBox& a, const SpreadBox& b) {
  constexpr double kTiny = 1e-7;
  const Covariance& of_a = a.covariance;
  const Covariance& of_b = b.covariance;
  const Covariance sum{of_a.xx + of_b.xx, of_a.yy + of_b.yy, of_a.xy + of_b.xy};
  const double dx = static_cast<double>(a.cx) - b.cx;
  const double dy = static_cast<double>(a.cy) - b.cy;
  const double determinant = sum.xx * sum.yy - sum.xy * sum.xy;
  // The Bhattacharyya distance of two normal distributions.
  const double apart =
      (sum.xx * dy * dy + sum.yy * dx * dx - 2 * sum.xy * dx * dy) / (determinant + kTiny) / 4;
  const double unlike =
      std::log(determinant / (4 * std::sqrt(Determinant(of_a) * Determinant(of_b)) + kTiny) +
               kTiny) /
      2;
  const double distance = std::clamp(apart + unlike, kTiny, 100.0);
  return static_cast<float>(1 - std::sqrt(1 - std::exp(-distance) + kTiny));
}

TurnedBoxes SuppressTurned(const TurnedBoxes& boxes, const Options& options, Alike alike) {
  std::vector<SpreadBox> spread;
  spread.reserve(boxes.size());
  for (const TurnedBox& box : boxes) {
    spread.push_back({box, CovarianceOf(box)});
  }
  spread = Suppress(std::move(spread), Overlap, options.iou, options.max_detections, alike);
  return {spread.begin(), spread.end()};
}

// Angles are in radians: nets give -pi/4 to 3 pi/4.
absl::Status CheckAngle(const ModelPlan& plan, float angle) {
  constexpr float kMaxAngle = 2 * std::numbers::pi_v<float>;
  if (!std::isfinite(angle)) {
    return NotFinite(plan.outputs.front());
  }
  return std::abs(angle) <= kMaxAngle
             ? absl::OkStatus()
             : Misfit(plan, "the model's output {} has the angle {:.6g}, which is not in radians",
                      plan.outputs.front(), angle);
}

// The upright candidate around each box, whose `source` is the box's place.
Candidates Around(const TurnedBoxes& boxes) {
  Candidates candidates;
  candidates.reserve(boxes.size());
  for (const TurnedBox& box : boxes) {
    const double cosine = std::abs(std::cos(static_cast<double>(box.angle)));
    const double sine = std::abs(std::sin(static_cast<double>(box.angle)));
    const auto half_width = static_cast<float>((box.width * cosine + box.height * sine) / 2);
    const auto half_height = static_cast<float>((box.width * sine + box.height * cosine) / 2);
    candidates.push_back({box.cx - half_width, box.cy - half_height, box.cx + half_width,
                          box.cy + half_height, box.confidence, box.class_id,
                          static_cast<std::uint32_t>(candidates.size())});
  }
  return candidates;
}

}  // namespace

std::vector<Point> CornersOf(const TurnedBox& box) {
  const double cosine = std::cos(static_cast<double>(box.angle));
  const double sine = std::sin(static_cast<double>(box.angle));
  const auto along_x = static_cast<float>(box.width / 2 * cosine);
  const auto along_y = static_cast<float>(box.width / 2 * sine);
  const auto across_x = static_cast<float>(-box.height / 2 * sine);
  const auto across_y = static_cast<float>(box.height / 2 * cosine);
  return {{box.cx - along_x - across_x, box.cy - along_y - across_y},
          {box.cx + along_x - across_x, box.cy + along_y - across_y},
          {box.cx + along_x + across_x, box.cy + along_y + across_y},
          {box.cx - along_x + across_x, box.cy - along_y + across_y}};
}

float ProbabilisticOverlap(const TurnedBox& a, const TurnedBox& b) {
  return Overlap({a, CovarianceOf(a)}, {b, CovarianceOf(b)});
}

absl::StatusOr<Result> FinishTurned(const ModelPlan& plan, std::vector<TurnedBox> boxes,
                                    const Placement& placement, const Options& options,
                                    Duplicates duplicates) {
  for (TurnedBox& box : boxes) {
    RETURN_IF_ERROR(CheckAngle(plan, box.angle));
    if (plan.normalized_boxes) {
      return Misfit(plan, "box_coordinates are \"normalized\", which turned boxes cannot be");
    }
  }
  // Checked before they are suppressed, which wants an area and whole numbers.
  Candidates around = Around(boxes);
  RETURN_IF_ERROR(ScaleAndCheck(plan, around, placement.input));
  TurnedBoxes sound;
  sound.reserve(around.size());
  for (const Candidate& candidate : around) {
    sound.push_back(boxes[candidate.source]);
    sound.back().confidence = candidate.confidence;
  }
  std::erase_if(sound, [&](const TurnedBox& box) { return !IsWanted(box, options); });
  if (const auto alike = SuppressedOf(duplicates, options)) {
    sound = SuppressTurned(sound, options, *alike);
  } else {
    SortMostConfidentFirst(sound);
  }
  return ToPicture(Around(sound), placement, options.max_detections,
                   [&sound](const Candidate& candidate, Detection& detection) {
                     detection.corners = CornersOf(sound[candidate.source]);
                     return absl::OkStatus();
                   });
}

bool ClaimsYoloV8Obb(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.outputs.size() != 1 || facts.task != "obb" || facts.end2end) {
    return false;
  }
  const std::int64_t rows = table->row[0];
  return facts.names > 0 ? rows == 4 + facts.names + 1 && table->row[1] != 7
                         : rows >= 6 && FitsGrids(table->row[1], facts.input, 1);
}

bool ClaimsObbNmsFree(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.outputs.size() != 1 || facts.task != "obb") {
    return false;
  }
  const std::int64_t rows = table->row[0];
  const bool few_rows = rows > 0 ? rows <= kMaxRows : facts.end2end;
  return few_rows && table->row[1] == 7;
}

absl::Status PlanYoloV8Obb(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  plan.outputs = {table->spec->name};
  plan.told_by_shape = facts.names == 0;
  return PlanClasses(facts, *table, row[0], 5, plan);
}

absl::Status PlanObbNmsFree(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  if (row[1] != kAny && row[1] != 7) {
    return absl::FailedPreconditionError(
        fmt::format("output {} is {}", table->spec->name, Text(table->spec->shape)));
  }
  plan.outputs = {table->spec->name};
  plan.classes = static_cast<std::size_t>(facts.names);
  return absl::OkStatus();
}

absl::StatusOr<Result> DetectYoloV8Obb(const ModelPlan& plan, std::span<const TensorView> outputs,
                                       const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(const Candidates candidates,
                   ReadYoloV8(plan, head, 1, options.LeastConfidence(), placement.input));
  const std::span<const float> angles = head.Row(head.shape()[0] - 1);
  TurnedBoxes boxes;
  boxes.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    const std::size_t anchor = candidate.source;
    boxes.push_back({head.Row(0)[anchor], head.Row(1)[anchor], head.Row(2)[anchor],
                     head.Row(3)[anchor], angles[anchor], candidate.confidence,
                     candidate.class_id});
  }
  return FinishTurned(plan, std::move(boxes), placement, options, Duplicates::kSuppress);
}

absl::StatusOr<Result> DetectObbNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(const Candidates candidates,
                   ReadRows(plan, table, 1, options.LeastConfidence()));
  TurnedBoxes boxes;
  boxes.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    const std::span<const float> row = table.Row(candidate.source);
    boxes.push_back(
        {row[0], row[1], row[2], row[3], row[6], candidate.confidence, candidate.class_id});
  }
  return FinishTurned(plan, std::move(boxes), placement, options, Duplicates::kKeep);
}

}  // namespace inferpool::vision
