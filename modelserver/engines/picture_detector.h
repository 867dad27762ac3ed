// The tensors of the picture detectors (opencv_cascade, opencv_hog): their input is one picture of
// any size, and their four outputs are those of a YOLO network that has non-maximum suppression in
// it.
//
//   image        UINT8 [height, width, 3]  RGB, no batch
//   num_dets     INT32 [1]                 rows in use, the best first; the others are zero
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

// Completes the tensors above in `config`. INVALID_ARGUMENT when it has other tensors.
absl::Status CompletePictureDetector(inference::ModelConfig& config);

// Returns the picture of an input that is as above, without a copy. It is valid as long as the
// tensor and must not be written to. Empty when a side is 0. INVALID_ARGUMENT when a side is too
// large for OpenCV, which counts in int.
absl::StatusOr<cv::Mat> PictureOf(const TensorView& image);

// Returns `picture`, shrunk if a side exceeds `max_side`. `scale` gets the ratio of the result's
// size to the picture's, at most 1. This bounds the time that a detector takes for any picture.
cv::Mat Shrink(const cv::Mat& picture, int max_side, double& scale);

// Puts the outputs above: the best kMaxDetections detections, sorted by score, with boxes clipped
// to a picture of size `picture`. The errors are those of Outputs::Put.
absl::Status PutDetections(std::vector<Detection> detections, cv::Size picture, Outputs& outputs);

}  // namespace inferpool::modelserver
