#include "worker/vision/families/keypoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/nms_free_decoders.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

std::int64_t ValuesOf(const KeypointShape& keypoints) {
  return static_cast<std::int64_t>(keypoints.count * keypoints.values);
}

// The keypoints of a row that has `behind` values for them: as the metadata says, else threes.
absl::Status PlanKeypoints(const OutputFacts& facts, const OutputFact& output, std::int64_t behind,
                           ModelPlan& plan) {
  KeypointShape keypoints = facts.keypoints.value_or(
      KeypointShape{static_cast<std::size_t>(std::max<std::int64_t>(behind, 0)) / 3, 3});
  if (behind < 2 || behind != ValuesOf(keypoints)) {
    return absl::FailedPreconditionError(fmt::format(
        "output {} is {}, which leaves {} values for keypoints, and that is not {} x {}; set the "
        "parameter \"kpt_shape\", such as \"[17, 3]\", and the class names",
        output.spec->name, Text(output.spec->shape), behind, keypoints.count, keypoints.values));
  }
  plan.keypoints = keypoints.count;
  plan.keypoint_values = keypoints.values;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Keypoint>> ReadKeypoints(const ModelPlan& plan,
                                                    std::span<const float> values, float confidence,
                                                    cv::Size input) {
  constexpr float kSides = 10;
  const std::string_view output = plan.outputs.front();
  const auto width = static_cast<float>(input.width);
  const auto height = static_cast<float>(input.height);
  std::vector<Keypoint> keypoints;
  keypoints.reserve(plan.keypoints);
  for (std::size_t i = 0; i < plan.keypoints; ++i) {
    const std::span<const float> point =
        values.subspan(i * plan.keypoint_values, plan.keypoint_values);
    Keypoint keypoint{point[0], point[1], plan.keypoint_values == 3 ? point[2] : confidence};
    RETURN_IF_ERROR(CheckScore(plan, output, keypoint.confidence));
    keypoint.confidence = std::clamp(keypoint.confidence, 0.0F, 1.0F);
    if (plan.normalized_boxes) {
      keypoint.x *= width;
      keypoint.y *= height;
    }
    if (!std::isfinite(keypoint.x) || !std::isfinite(keypoint.y)) {
      return NotFinite(output);
    }
    if (std::abs(keypoint.x) > kSides * width || std::abs(keypoint.y) > kSides * height) {
      return Misfit(plan,
                    "the model's output {} has a keypoint at ({:.6g}, {:.6g}), far outside of the "
                    "input's {} x {} pixels",
                    output, keypoint.x, keypoint.y, input.width, input.height);
    }
    keypoints.push_back(keypoint);
  }
  return keypoints;
}

bool ClaimsYoloV8Pose(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.outputs.size() != 1 || !facts.keypoints || facts.end2end) {
    return false;
  }
  const std::int64_t classes = table->row[0] - 4 - ValuesOf(*facts.keypoints);
  const bool may_be_rows =
      table->row[1] == 6 + ValuesOf(*facts.keypoints) && table->row[0] <= kMaxRows;
  return facts.names > 0 ? classes == facts.names && !may_be_rows
                         : classes >= 1 && FitsGrids(table->row[1], facts.input, 1);
}

bool ClaimsPoseNmsFree(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || facts.outputs.size() != 1 || !facts.keypoints) {
    return false;
  }
  const std::int64_t rows = table->row[0];
  const bool few_rows = rows > 0 ? rows <= kMaxRows : facts.end2end;
  return few_rows && table->row[1] == 6 + ValuesOf(*facts.keypoints);
}

absl::Status PlanYoloV8Pose(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  const std::int64_t classes = std::max<std::int64_t>(facts.names, 1);
  if (row[0] == kAny) {
    return absl::FailedPreconditionError(fmt::format("output {} is {}: write its `dims`",
                                                     table->spec->name, Text(table->spec->shape)));
  }
  RETURN_IF_ERROR(PlanKeypoints(facts, *table, row[0] - 4 - classes, plan));
  plan.outputs = {table->spec->name};
  plan.classes = static_cast<std::size_t>(classes);
  plan.told_by_shape = facts.names == 0;
  return absl::OkStatus();
}

absl::Status PlanPoseNmsFree(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  const std::int64_t columns =
      row[1] == kAny && facts.keypoints ? 6 + ValuesOf(*facts.keypoints) : row[1];
  RETURN_IF_ERROR(PlanKeypoints(facts, *table, columns - 6, plan));
  plan.outputs = {table->spec->name};
  plan.classes = static_cast<std::size_t>(facts.names);
  return absl::OkStatus();
}

absl::StatusOr<Result> DetectYoloV8Pose(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(outputs, plan.outputs.front(), 2));
  const std::size_t behind = plan.keypoints * plan.keypoint_values;
  ASSIGN_OR_RETURN(Candidates candidates,
                   ReadYoloV8(plan, head, behind, options.LeastConfidence(), placement.input));
  const std::size_t first = head.shape()[0] - behind;
  std::vector<float> values(behind);
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kSuppress,
                [&](const Candidate& candidate, Detection& detection) -> absl::Status {
                  for (std::size_t i = 0; i < behind; ++i) {
                    values[i] = head.Row(first + i)[candidate.source];
                  }
                  ASSIGN_OR_RETURN(
                      detection.keypoints,
                      ReadKeypoints(plan, values, candidate.confidence, placement.input));
                  return absl::OkStatus();
                });
}

absl::StatusOr<Result> DetectPoseNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                         const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(outputs, plan.outputs.front(), 2));
  const std::size_t behind = plan.keypoints * plan.keypoint_values;
  ASSIGN_OR_RETURN(Candidates candidates, ReadRows(plan, table, behind, options.LeastConfidence()));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep,
                [&](const Candidate& candidate, Detection& detection) -> absl::Status {
                  ASSIGN_OR_RETURN(detection.keypoints,
                                   ReadKeypoints(plan, table.Row(candidate.source).subspan(6),
                                                 candidate.confidence, placement.input));
                  return absl::OkStatus();
                });
}

}  // namespace inferpool::vision
