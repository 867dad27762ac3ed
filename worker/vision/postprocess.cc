#include "worker/vision/postprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "shared/base/status.h"
#include "worker/vision/classification.h"
#include "worker/vision/nms.h"
#include "worker/vision/nms_free_decoders.h"
#include "worker/vision/yolo_decoders.h"

namespace inferpool::vision {
namespace {

bool HasArea(const Detection& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2) && box.x1 < box.x2 && box.y1 < box.y2;
}

void DropDegenerate(Detections& detections) {
  std::erase_if(detections, [](const Detection& detection) {
    return !HasArea(detection) || !std::isfinite(detection.confidence);
  });
}

void Denormalise(Detections& detections, cv::Size input) {
  const auto width = static_cast<float>(input.width);
  const auto height = static_cast<float>(input.height);
  for (Detection& detection : detections) {
    detection.x1 *= width;
    detection.y1 *= height;
    detection.x2 *= width;
    detection.y2 *= height;
  }
}

absl::StatusOr<Detections> ReadDetections(const ModelPlan& plan,
                                          std::span<const TensorView> outputs, float confidence) {
  switch (plan.family) {
    case Family::kYoloV8:
      return ReadYoloV8(plan, outputs, confidence);
    case Family::kYoloV5:
      return ReadYoloV5(plan, outputs, confidence);
    case Family::kEndToEnd:
      return ReadEndToEnd(plan, outputs, confidence);
    case Family::kNmsFree:
      return ReadNmsFree(plan, outputs, confidence);
    case Family::kClassification:
    case Family::kEmbedding:
      break;
  }
  return absl::InternalError(fmt::format("family {} has no boxes", Name(plan.family)));
}

absl::StatusOr<Result> Detect(const ModelPlan& plan, std::span<const TensorView> outputs,
                              const Placement& placement, const Options& options) {
  absl::StatusOr<Detections> read = ReadDetections(plan, outputs, options.confidence);
  if (!read.ok()) {
    return read.status();
  }
  Detections detections = *std::move(read);
  if (plan.normalized_boxes) {
    Denormalise(detections, placement.input);
  }
  DropDegenerate(detections);
  const bool is_raw = plan.family == Family::kYoloV8 || plan.family == Family::kYoloV5;
  if (is_raw) {
    detections = SuppressNonMaxima(std::move(detections), options.iou, options.max_detections);
  }
  for (Detection& detection : detections) {
    detection = placement.ToPicture(detection);
  }
  DropDegenerate(detections);
  KeepMostConfident(detections, options.max_detections);
  return Result(std::move(detections));
}

}  // namespace

absl::StatusOr<Result> Postprocess(const ModelPlan& plan, std::span<const TensorView> outputs,
                                   const Placement& placement, const Options& options) {
  try {
    switch (plan.family) {
      case Family::kClassification:
        return Classify(plan, outputs, options.top_k);
      case Family::kEmbedding:
        return Embed(plan, outputs);
      default:
        return Detect(plan, outputs, placement, options);
    }
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(fmt::format("cannot read the answer: {}", error.what()));
  }
}

}  // namespace inferpool::vision
