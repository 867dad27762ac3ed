// Backend "opencv_hog": OpenCV's built-in pedestrian detector (HOG features and a linear SVM on
// windows of 64x128, after Dalal and Triggs, CVPR 2005), as a picture detector
// (picture_detector.h).
//
// Confidence. A window's margin is its distance from the SVM's plane (positive: a person). A
// cluster's evidence is
//
//   E = sum over its windows of margin  *  ln(scale_factor) / ln(1.05)
//
// independent of how densely the sizes were searched (places are always 8 pixels apart), and
//
//   confidence = E^1.5 / (E^1.5 + h^1.5),  h = confidence_half, 3
//
// so h is the evidence at which a detection is as likely as not. Measured on OpenCV's vtest.avi and
// 20 other pictures: upright people have E of 3 to 30 (0.5 to 0.97), chance finds 0.1 to 2.5 (0.01
// to 0.43); but a texture or figure that looks upright and limbed can have any. Under 0.05 nothing
// is reported.
//
// Box. The SVM was trained on people with a margin around them, so a window's outer eighths
// above and below and fifths at the sides are not the person and are cut off.
//
// Parameters (parameters { key: ... value: { string_value: ... } }):
//   scale_factor     1.1   (1.01 to 2)    ratio of one window size to the next
//   max_side         1024  (128 to 8192)  larger pictures are shrunk to it first
//   confidence_half  3     (0.001 to 1e6)
// Windows are at least 64x128 pixels: people under about 96 pixels of the shrunk picture are not
// found.
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// One instance. Error: INVALID_ARGUMENT for a parameter out of range.
absl::StatusOr<std::unique_ptr<Engine>> MakeHogEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
