#include "worker/vision/nms_free_decoders.h"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "shared/base/status.h"
#include "worker/vision/output_numbers.h"

namespace inferpool::vision {
namespace {

// Adds the box unless its score is too low or its class is no class.
void Add(std::span<const float> box, float score, float class_id, float confidence,
         Detections& detections) {
  constexpr float kMaxClasses = 1 << 20;
  if (score > confidence && class_id >= 0 && class_id < kMaxClasses) {
    detections.push_back(
        {box[0], box[1], box[2], box[3], score, static_cast<int>(std::lround(class_id))});
  }
}

}  // namespace

absl::StatusOr<Detections> ReadEndToEnd(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        float confidence) {
  absl::StatusOr<Numbers> count = ReadOutput(outputs, plan.outputs[0], 1);
  if (!count.ok()) {
    return count.status();
  }
  absl::StatusOr<Numbers> boxes = ReadOutput(outputs, plan.outputs[1], 2);
  if (!boxes.ok()) {
    return boxes.status();
  }
  absl::StatusOr<Numbers> scores = ReadOutput(outputs, plan.outputs[2], 1);
  if (!scores.ok()) {
    return scores.status();
  }
  absl::StatusOr<Numbers> classes = ReadOutput(outputs, plan.outputs[3], 1);
  if (!classes.ok()) {
    return classes.status();
  }
  const std::size_t rows = boxes->shape()[0];
  if (count->shape()[0] != 1 || boxes->shape()[1] != 4 || scores->shape()[0] != rows ||
      classes->shape()[0] != rows) {
    return absl::InternalError(fmt::format(
        "the model's outputs do not go together: {} of [{}], {} of [{}, {}], {} of [{}], {} of "
        "[{}]",
        plan.outputs[0], count->shape()[0], plan.outputs[1], rows, boxes->shape()[1],
        plan.outputs[2], scores->shape()[0], plan.outputs[3], classes->shape()[0]));
  }
  const float found = count->values()[0];
  if (!(found >= 0 && found <= static_cast<float>(rows))) {
    return absl::InternalError(fmt::format("the model's output {} is {}, but there are {} boxes",
                                           plan.outputs[0], found, rows));
  }
  Detections detections;
  for (std::size_t i = 0; i < static_cast<std::size_t>(found); ++i) {
    Add(boxes->Row(i), scores->values()[i], classes->values()[i], confidence, detections);
  }
  return detections;
}

absl::StatusOr<Detections> ReadNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                       float confidence) {
  absl::StatusOr<Numbers> table = ReadOutput(outputs, plan.outputs.front(), 2);
  if (!table.ok()) {
    return table.status();
  }
  if (table->shape()[1] != 6) {
    return absl::InternalError(fmt::format("the model's output {} has {} values a box instead of 6",
                                           plan.outputs.front(), table->shape()[1]));
  }
  Detections detections;
  for (std::size_t i = 0; i < table->shape()[0]; ++i) {
    const std::span<const float> row = table->Row(i);
    Add(row.first(4), row[4], row[5], confidence, detections);
  }
  return detections;
}

}  // namespace inferpool::vision
