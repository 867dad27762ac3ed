// Families whose rows have keypoints: yolov8_pose and pose_nms_free.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <span>
#include <vector>

#include "proto/datatype.h"
#include "worker/vision/families/detection.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Makes keypoints of `values`: plan.keypoints times x, y and, when plan.keypoint_values is 3, a
// confidence. In the input's pixels afterwards. Where the model gives no confidence it is that of
// the object, `confidence`. INTERNAL: a value is not finite. FAILED_PRECONDITION: a confidence is
// not within 0..1, or a point lies far outside of the input.
absl::StatusOr<std::vector<Keypoint>> ReadKeypoints(const ModelPlan& plan,
                                                    std::span<const float> values, float confidence,
                                                    cv::Size input);

// For the family table. yolov8_pose: [4 + classes + keypoints x values, anchors]. pose_nms_free:
// [N, 6 + keypoints x values]: x1, y1, x2, y2, score, class, then the keypoints.
bool ClaimsYoloV8Pose(const OutputFacts& facts);
bool ClaimsPoseNmsFree(const OutputFacts& facts);
absl::Status PlanYoloV8Pose(const OutputFacts& facts, ModelPlan& plan);
absl::Status PlanPoseNmsFree(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectYoloV8Pose(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        const Placement& placement, const Options& options);
absl::StatusOr<Result> DetectPoseNmsFree(const ModelPlan& plan, std::span<const TensorView> outputs,
                                         const Placement& placement, const Options& options);

}  // namespace inferpool::vision
