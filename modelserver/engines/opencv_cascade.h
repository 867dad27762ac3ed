// Backend "opencv_cascade": a Haar or LBP cascade through cv::CascadeClassifier, as a picture
// detector (picture_detector.h).
//
// Confidence. A window that passes all stages has a margin: the last stage's sum
// (detectMultiScale's level weight) less the last stage's threshold (from the cascade's file). A
// cluster's evidence is
//
//   E = sum over its windows but the strongest of margin * step^2  *  ln(scale_factor) / ln(1.1)
//
// where step is the pixels OpenCV moves a window by: 2 for windows up to twice the cascade's own
// size, 1 beyond. Both factors make E independent of how densely the picture was searched. The
// strongest window is left out because most chance finds are a single window. Then
//
//   confidence = E^1.5 / (E^1.5 + h^1.5),  h = confidence_half, 50
//
// so h is the evidence at which a detection is as likely as not. Measured with the default cascade
// on 100 faces of LFW (skimage's lfw_subset), enlarged to faces of 29, 38, 52 and 70 pixels: 84,
// 85, 90 and 92 score over 0.5, and 89, 89, 92 and 96 over 0.25; of its 100 pictures of no face one
// is over 0.25, at each size. 119 other pictures without faces (skimage's, OpenCV's samples) have
// chance finds over 0.25 in 11 and over 0.5 in 4, up to 0.66. Under 0.05 nothing is reported.
//
// Parameters (parameters { key: ... value: { string_value: ... } }):
//   cascade          file name, in the version's folder or /usr/share/opencv4/{haar,lbp}cascades;
//                    required; the old format (opencv_storage with a `size` node) is refused
//   scale_factor     1.2   (1.01 to 2)    ratio of one window size to the next; 1.1 finds some 2
//                                         in 100 more and takes 1.8 times as long
//   min_size         24    (8 to 4096)    smallest object, pixels of the shrunk picture
//   max_side         1024  (64 to 8192)   larger pictures are shrunk to it first
//   confidence_half  50    (0.001 to 1e6) other cascades have other margins
#pragma once

#include <filesystem>
#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// One instance. Error: INVALID_ARGUMENT for a parameter out of range, a cascade that is not found
// or not readable.
absl::StatusOr<std::unique_ptr<Engine>> MakeCascadeEngine(
    const inference::ModelConfig& config, const std::filesystem::path& version_folder);

}  // namespace inferpool::modelserver
