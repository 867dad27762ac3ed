// Families whose rows have mask coefficients: yolov8_segment and segment_nms_free.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <opencv2/core/types.hpp>
#include <span>
#include <vector>

#include "proto/datatype.h"
#include "worker/vision/families/candidate.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/output_numbers.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// What bounds the masks, whatever a net puts out.
inline constexpr int kMaxMaskSide = 1024;
inline constexpr std::size_t kMaxMaskParts = 32;
inline constexpr std::size_t kMaxMaskCorners = 1'000'000;  // of all masks of one answer

// Returns the outlines, in the input's pixels, of where the sum of the prototypes [planes, height,
// width], weighted by `coefficients`, is above 0 in `box` after bilinear interpolation to the
// input's size, as in Ultralytics' process_mask. One polygon for each part, the largest
// kMaxMaskParts of them, the largest first; holes are not told. A box of more than kMaxMaskSide
// pixels a side has pixels that are as much larger. Corners that differ from a straight line by
// less than half a pixel are left out. INTERNAL: one of these sums is not a finite number, or there
// are too many of them.
absl::StatusOr<std::vector<Polygon>> OutlinesOf(const Numbers& prototypes,
                                                std::span<const float> coefficients,
                                                const Candidate& box, cv::Size input);

// For the family table. The masks of one answer have at most kMaxMaskCorners corners together, else
// the answer is INTERNAL. yolov8_segment: [4 + classes + planes, anchors]; segment_nms_free: [N, 6
// + planes]: x1, y1, x2, y2, score, class, coefficients. Each with prototypes [planes, height,
// width].
bool ClaimsYoloV8Segment(const OutputFacts& facts);
bool ClaimsSegmentNmsFree(const OutputFacts& facts);
absl::Status PlanYoloV8Segment(const OutputFacts& facts, ModelPlan& plan);
absl::Status PlanSegmentNmsFree(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> DetectYoloV8Segment(const ModelPlan& plan,
                                           std::span<const TensorView> outputs,
                                           const Placement& placement, const Options& options);
absl::StatusOr<Result> DetectSegmentNmsFree(const ModelPlan& plan,
                                            std::span<const TensorView> outputs,
                                            const Placement& placement, const Options& options);

}  // namespace inferpool::vision
