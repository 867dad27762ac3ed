#include "worker/vision/families/nms_free_decoders.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/families/boxes.h"
#include "worker/vision/families/rt_detr.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

constexpr std::array kEndToEndOutputs = {"num_dets", "det_boxes", "det_scores", "det_classes"};

}  // namespace

absl::StatusOr<Candidates> ReadEndToEnd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        float confidence) {
  ASSIGN_OR_RETURN(const Numbers count, ReadOutput(outputs, plan.outputs[0], 1));
  ASSIGN_OR_RETURN(const Numbers boxes, ReadOutput(outputs, plan.outputs[1], 2));
  ASSIGN_OR_RETURN(const Numbers scores, ReadOutput(outputs, plan.outputs[2], 1));
  ASSIGN_OR_RETURN(const Numbers classes, ReadOutput(outputs, plan.outputs[3], 1));
  const std::size_t rows = boxes.shape()[0];
  if (count.shape()[0] != 1 || boxes.shape()[1] != 4 || scores.shape()[0] != rows ||
      classes.shape()[0] != rows) {
    return absl::InternalError(fmt::format(
        "the model's outputs do not go together: {} of [{}], {} of [{}, {}], {} of [{}], {} of "
        "[{}]",
        plan.outputs[0], count.shape()[0], plan.outputs[1], rows, boxes.shape()[1], plan.outputs[2],
        scores.shape()[0], plan.outputs[3], classes.shape()[0]));
  }
  const float found = count.values()[0];
  if (!(found >= 0 && found <= static_cast<float>(rows))) {
    return absl::InternalError(fmt::format("the model's output {} is {}, but there are {} boxes",
                                           plan.outputs[0], found, rows));
  }
  Candidates candidates;
  for (std::size_t i = 0; i < static_cast<std::size_t>(found); ++i) {
    const float score = scores.values()[i];
    RETURN_IF_ERROR(CheckScore(plan, plan.outputs[2], score));
    ASSIGN_OR_RETURN(const int class_id, ReadClass(plan, plan.outputs[3], classes.values()[i]));
    if (score > confidence) {
      const std::span<const float> box = boxes.Row(i);
      candidates.push_back(
          {box[0], box[1], box[2], box[3], score, class_id, static_cast<std::uint32_t>(i)});
    }
  }
  return candidates;
}

absl::StatusOr<Candidates> ReadRows(const ModelPlan& plan, const Numbers& table, std::size_t behind,
                                    float confidence) {
  const std::string_view output = plan.outputs.front();
  if (table.shape()[1] != 6 + behind) {
    return absl::InternalError(
        fmt::format("the model's output {} has {} values a box instead of {}", output,
                    table.shape()[1], 6 + behind));
  }
  Candidates candidates;
  for (std::size_t i = 0; i < table.shape()[0]; ++i) {
    const std::span<const float> row = table.Row(i);
    if (row[5] == -1 && row[4] <= 0) {
      continue;
    }
    RETURN_IF_ERROR(CheckScore(plan, output, row[4]));
    ASSIGN_OR_RETURN(const int class_id, ReadClass(plan, output, row[5]));
    if (row[4] > confidence) {
      candidates.push_back(
          {row[0], row[1], row[2], row[3], row[4], class_id, static_cast<std::uint32_t>(i)});
    }
  }
  return candidates;
}

// ---------------------------------------------------------------- for the family table

bool ClaimsEndToEnd(const OutputFacts& facts) {
  return std::all_of(kEndToEndOutputs.begin(), kEndToEndOutputs.end(),
                     [&](const char* name) { return facts.Find(name) != nullptr; });
}

bool ClaimsNmsFree(const OutputFacts& facts) {
  const OutputFact* table = facts.Table();
  if (table == nullptr || table->row[1] != 6 || HasRtDetrHead(facts)) {
    return false;
  }
  const std::int64_t rows = table->row[0];
  if (rows == kAny) {  // yolov5 of one class looks the same
    return facts.names > 1 || facts.end2end;
  }
  return rows > 0 && rows <= kMaxRows;
}

absl::Status PlanEndToEnd(const OutputFacts& facts, ModelPlan& plan) {
  if (!ClaimsEndToEnd(facts)) {
    return absl::FailedPreconditionError("some of these outputs are missing");
  }
  plan.outputs.assign(kEndToEndOutputs.begin(), kEndToEndOutputs.end());
  plan.classes = static_cast<std::size_t>(facts.names);
  return absl::OkStatus();
}

absl::Status PlanNmsFree(const OutputFacts& facts, ModelPlan& plan) {
  Shape row;
  ASSIGN_OR_RETURN(const OutputFact* table, FindTable(facts, row));
  if (row[1] != kAny && row[1] != 6) {
    return absl::FailedPreconditionError(
        fmt::format("output {} is {}", table->spec->name, Text(table->spec->shape)));
  }
  plan.outputs = {table->spec->name};
  plan.classes = static_cast<std::size_t>(facts.names);
  return absl::OkStatus();
}

absl::StatusOr<Result> DetectEndToEnd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(Candidates candidates, ReadEndToEnd(plan, outputs, options.LeastConfidence()));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep);
}

absl::StatusOr<Result> DetectNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                     const Placement& placement, const Options& options) {
  ASSIGN_OR_RETURN(const Numbers table, ReadOutput(outputs, plan.outputs.front(), 2));
  ASSIGN_OR_RETURN(Candidates candidates, ReadRows(plan, table, 0, options.LeastConfidence()));
  return Finish(plan, std::move(candidates), placement, options, Duplicates::kKeep);
}

}  // namespace inferpool::vision
