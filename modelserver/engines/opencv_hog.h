// Backend "opencv_hog": OpenCV's built-in pedestrian detector (HOG features and a linear SVM on
// windows of 64x128, after Dalal and Triggs, CVPR 2005), as a picture detector
// (picture_detector.h).
//
// Confidence. A window's margin is its distance from the SVM's plane, which is positive for a
// person. The evidence of a cluster of windows (window_clusters.h) is
//
//   E = sum over its windows of margin  *  ln(scale_factor) / ln(1.05)
//
// which does not depend on how densely the sizes were searched (positions are always 8 pixels
// apart), and
//
//   confidence = E^1.5 / (E^1.5 + h^1.5),  h = confidence_half, 3
//
// so at E = h a detection is right as often as not. Measured on OpenCV's vtest.avi and 20 other
// pictures: upright people have an E of 3 to 30 (a confidence of 0.5 to 0.97), false detections one
// of 0.1 to 2.5 (0.01 to 0.43). But a texture or an object that looks like an upright body can have
// any. Detections under 0.05 are not reported.
//
// Box. The SVM was trained on people with a border around them. So an eighth of a window's height
// is cut off above and below, and a fifth of its width on each side.
//
// Parameters (parameters { key: ... value: { string_value: ... } }):
//   scale_factor     1.1   (1.01 to 2)    ratio of one window size to the next
//   max_side         1024  (128 to 8192)  larger pictures are shrunk to it first
//   confidence_half  3     (0.001 to 1e6) h above
// Windows have at least 64x128 pixels, so people with less than about 96 pixels in the shrunk
// picture are not found.
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Makes one instance of a completed configuration. INVALID_ARGUMENT when a parameter is out of
// range.
absl::StatusOr<std::unique_ptr<Engine>> MakeHogEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
