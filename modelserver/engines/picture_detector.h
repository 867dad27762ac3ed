// What the picture detectors (opencv_cascade, opencv_hog) have in common: one picture of any size
// in, the four outputs of an end-to-end YOLO out.
//
//   image        UINT8 [height, width, 3]  RGB, no batch
//   num_dets     INT32 [1]                 rows in use, best first; the others are zero
//   det_boxes    FP32  [100, 4]            x1, y1, x2, y2 in the picture's pixels, inside it
//   det_scores   FP32  [100]               0..1
//   det_classes  INT32 [100]               always 0
#pragma once

#include <opencv2/core.hpp>
#include <span>
#include <vector>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

inline constexpr int kMaxDetections = 100;

struct Detection {
  cv::Rect2f box;
  float score = 0;
};

// Completes and checks the tensors above in `config`. Error: it says something else.
absl::Status CompletePictureDetector(inference::ModelConfig& config);

// The picture of a checked input, without a copy: valid as long as the tensor, not to be written
// to. Empty when a side is 0. Error: INVALID_ARGUMENT for a side past `int`.
absl::StatusOr<cv::Mat> PictureOf(const TensorView& image);

// `picture`, shrunk so that no side exceeds `max_side` and never enlarged; `scale` is the result's
// size over the original's. What a detector costs is bounded by this, whatever is sent.
cv::Mat Shrink(const cv::Mat& picture, int max_side, double& scale);

// Puts the outputs above: the best kMaxDetections, sorted by score, clipped to `picture`. Error: as
// Outputs::Put.
absl::Status PutDetections(std::vector<Detection> detections, cv::Size picture, Outputs& outputs);

}  // namespace inferpool::modelserver
