#include "worker/vision/families/family_table.h"

#include <algorithm>
#include <array>

#include "shared/base/check.h"
#include "worker/vision/families/classification.h"
#include "worker/vision/families/keypoints.h"
#include "worker/vision/families/masks.h"
#include "worker/vision/families/nms_free_decoders.h"
#include "worker/vision/families/rt_detr.h"
#include "worker/vision/families/ssd.h"
#include "worker/vision/families/text_boxes.h"
#include "worker/vision/families/text_line.h"
#include "worker/vision/families/turned_boxes.h"
#include "worker/vision/families/yolo_decoders.h"

namespace inferpool::vision {
namespace {

constexpr FamilyRow kFamilies[] = {
    {.family = Family::kYoloV8,
     .name = "yolov8",
     .task = "detect",
     .outputs = "[4 + classes, anchors]",
     .claims = ClaimsYoloV8,
     .plan = PlanYoloV8,
     .read = DetectYoloV8},
    {.family = Family::kYoloV8Segment,
     .name = "yolov8_segment",
     .task = "segment",
     .outputs = "[4 + classes + planes, anchors] and [planes, height, width]",
     .claims = ClaimsYoloV8Segment,
     .plan = PlanYoloV8Segment,
     .read = DetectYoloV8Segment},
    {.family = Family::kYoloV8Pose,
     .name = "yolov8_pose",
     .task = "pose",
     .outputs = "[4 + classes + keypoints x 3, anchors]",
     .claims = ClaimsYoloV8Pose,
     .plan = PlanYoloV8Pose,
     .read = DetectYoloV8Pose},
    {.family = Family::kYoloV8Obb,
     .name = "yolov8_obb",
     .task = "obb",
     .outputs = "[4 + classes + 1, anchors]",
     .claims = ClaimsYoloV8Obb,
     .plan = PlanYoloV8Obb,
     .read = DetectYoloV8Obb},
    {.family = Family::kYoloV5,
     .name = "yolov5",
     .task = "detect",
     .outputs = "[anchors, 5 + classes]",
     .claims = ClaimsYoloV5,
     .plan = PlanYoloV5,
     .read = DetectYoloV5},
    {.family = Family::kYolox,
     .name = "yolox",
     .task = "detect",
     .outputs = "[anchors, 5 + classes]",
     .scale = 1,
     .rgb = false,
     .plan = PlanYoloV5,
     .read = DetectYolox},
    {.family = Family::kRtDetr,
     .name = "rt_detr",
     .task = "detect",
     .outputs = "[queries, 4 + classes] or [queries, 6]",
     .resize = Resize::kStretch,
     .claims = ClaimsRtDetr,
     .plan = PlanRtDetr,
     .read = DetectRtDetr},
    {.family = Family::kEndToEnd,
     .name = "end_to_end",
     .task = "detect",
     .outputs = "num_dets, det_boxes, det_scores and det_classes",
     .claims = ClaimsEndToEnd,
     .plan = PlanEndToEnd,
     .read = DetectEndToEnd},
    {.family = Family::kSsd,
     .name = "ssd",
     .task = "detect",
     .outputs = "detection_boxes, detection_scores, detection_classes and num_detections, or "
                "boxes, scores and labels",
     .claims = ClaimsSsd,
     .plan = PlanSsd,
     .read = DetectSsd},
    {.family = Family::kNmsFree,
     .name = "nms_free",
     .task = "detect",
     .outputs = "[N, 6]",
     .claims = ClaimsNmsFree,
     .plan = PlanNmsFree,
     .read = DetectNmsFree},
    {.family = Family::kSegmentNmsFree,
     .name = "segment_nms_free",
     .task = "segment",
     .outputs = "[N, 6 + planes] and [planes, height, width]",
     .claims = ClaimsSegmentNmsFree,
     .plan = PlanSegmentNmsFree,
     .read = DetectSegmentNmsFree},
    {.family = Family::kPoseNmsFree,
     .name = "pose_nms_free",
     .task = "pose",
     .outputs = "[N, 6 + keypoints x 3]",
     .claims = ClaimsPoseNmsFree,
     .plan = PlanPoseNmsFree,
     .read = DetectPoseNmsFree},
    {.family = Family::kObbNmsFree,
     .name = "obb_nms_free",
     .task = "obb",
     .outputs = "[N, 7]",
     .claims = ClaimsObbNmsFree,
     .plan = PlanObbNmsFree,
     .read = DetectObbNmsFree},
    {.family = Family::kTextBoxes,
     .name = "text_boxes",
     .task = "",
     .outputs = "[1, height, width]",
     .plan = PlanTextBoxes,
     .read = DetectTextBoxes},
    {.family = Family::kTextLine,
     .name = "text_line",
     .task = "",
     .outputs = "[steps, 1 + characters] or [steps, 1 + characters + 1]",
     .plan = PlanTextLine,
     .read = ReadTextLine},
    {.family = Family::kClassification,
     .name = "classification",
     .task = "classify",
     .outputs = "[classes]",
     .resize = Resize::kCrop,
     .claims = ClaimsClassification,
     .plan = PlanClassification,
     .read = ReadClassification},
    {.family = Family::kEmbedding,
     .name = "embedding",
     .task = "",
     .outputs = "[dimensions]",
     .resize = Resize::kCrop,
     .claims = ClaimsEmbedding,
     .plan = PlanEmbedding,
     .read = ReadEmbedding},
};

}  // namespace

std::span<const FamilyRow> FamilyTable() {
  return kFamilies;
}

const FamilyRow& RowOf(Family family) {
  const auto* row = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                 [family](const FamilyRow& of) { return of.family == family; });
  CHECK(row != std::end(kFamilies));
  return *row;
}

const FamilyRow* FindFamily(std::string_view name) {
  const auto* row = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                 [name](const FamilyRow& of) { return of.name == name; });
  return row == std::end(kFamilies) ? nullptr : row;
}

std::string_view Name(Family family) {
  return RowOf(family).name;
}

}  // namespace inferpool::vision
