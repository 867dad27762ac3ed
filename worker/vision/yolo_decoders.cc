#include "worker/vision/yolo_decoders.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "shared/base/status.h"
#include "worker/vision/output_numbers.h"

namespace inferpool::vision {
namespace {

absl::Status CheckClasses(const ModelPlan& plan, std::size_t length, std::size_t around) {
  if (length <= around || (plan.classes > 0 && length - around != plan.classes)) {
    return absl::InternalError(
        fmt::format("the model's output {} has {} values an anchor, which is not {} + {} classes",
                    plan.outputs.front(), length, around, plan.classes));
  }
  return absl::OkStatus();
}

Detection FromCentre(float cx, float cy, float width, float height, float confidence,
                     int class_id) {
  return {cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2, confidence, class_id};
}

// Some anchors' best class so far.
constexpr std::size_t kBlock = 1024;
struct Best {
  std::array<float, kBlock> score;
  std::array<int, kBlock> class_id;
};

constexpr int kNone = -1;

// Walks the classes' rows over one block of anchors, so that memory is read in order and the block
// stays in the first-level cache. Starting at the threshold spares a pass, and a score that is not
// a number never wins.
void FindBestClasses(const Numbers& head, std::size_t first_anchor, std::size_t anchors,
                     float confidence, Best& best) {
  best.score.fill(confidence);
  best.class_id.fill(kNone);
  for (std::size_t row = 4; row < head.shape()[0]; ++row) {
    const float* scores = head.Row(row).data() + first_anchor;
    const int class_id = static_cast<int>(row - 4);
    for (std::size_t i = 0; i < anchors; ++i) {
      const bool better = scores[i] > best.score[i];
      best.score[i] = better ? scores[i] : best.score[i];
      best.class_id[i] = better ? class_id : best.class_id[i];
    }
  }
}

}  // namespace

absl::StatusOr<Detections> ReadYoloV8(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      float confidence) {
  absl::StatusOr<Numbers> head = ReadOutput(outputs, plan.outputs.front(), 2);
  if (!head.ok()) {
    return head.status();
  }
  RETURN_IF_ERROR(CheckClasses(plan, head->shape()[0], 4));

  Detections detections;
  Best best;
  for (std::size_t first = 0; first < head->shape()[1]; first += kBlock) {
    const std::size_t anchors = std::min(kBlock, head->shape()[1] - first);
    FindBestClasses(*head, first, anchors, confidence, best);
    for (std::size_t i = 0; i < anchors; ++i) {
      if (best.class_id[i] != kNone) {
        const std::size_t anchor = first + i;
        detections.push_back(FromCentre(head->Row(0)[anchor], head->Row(1)[anchor],
                                        head->Row(2)[anchor], head->Row(3)[anchor], best.score[i],
                                        best.class_id[i]));
      }
    }
  }
  return detections;
}

absl::StatusOr<Detections> ReadYoloV5(const ModelPlan& plan, std::span<const TensorView> outputs,
                                      float confidence) {
  absl::StatusOr<Numbers> head = ReadOutput(outputs, plan.outputs.front(), 2);
  if (!head.ok()) {
    return head.status();
  }
  RETURN_IF_ERROR(CheckClasses(plan, head->shape()[1], 5));

  Detections detections;
  for (std::size_t anchor = 0; anchor < head->shape()[0]; ++anchor) {
    const std::span<const float> values = head->Row(anchor);
    const float objectness = values[4];
    if (!(objectness > confidence)) {
      continue;
    }
    float best = confidence;
    int class_id = kNone;
    for (std::size_t column = 5; column < head->shape()[1]; ++column) {
      const float score = objectness * values[column];
      if (score > best) {
        best = score;
        class_id = static_cast<int>(column - 5);
      }
    }
    if (class_id != kNone) {
      detections.push_back(FromCentre(values[0], values[1], values[2], values[3], best, class_id));
    }
  }
  return detections;
}

}  // namespace inferpool::vision
