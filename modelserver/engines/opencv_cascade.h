// Backend "opencv_cascade": a Haar or LBP cascade through cv::CascadeClassifier, as a picture
// detector (picture_detector.h).
//
// Confidence. A window that passes all stages has a margin: the last stage's sum
// (detectMultiScale's level weight) minus the last stage's threshold (from the cascade's file). The
// evidence of a cluster of windows (window_clusters.h) is
//
//   E = sum over its windows except the strongest of margin * step^2  *  ln(scale_factor) / ln(1.1)
//
// where step is the number of pixels by which OpenCV moves a window: 2 for windows up to twice the
// cascade's own size, 1 for larger ones. The two factors make E independent of how densely the
// picture was searched. The strongest window is left out because most false detections are a single
// window. Then
//
//   confidence = E^1.5 / (E^1.5 + h^1.5),  h = confidence_half, 50
//
// so at E = h a detection is right as often as not. Measured with the default cascade on 100 faces
// of LFW (skimage's lfw_subset), scaled to faces of 29, 38, 52 and 70 pixels: 84, 85, 90 and 92
// have a confidence over 0.5, and 89, 89, 92 and 96 over 0.25. Of that set's 100 pictures without a
// face, one is over 0.25 at each size. Of 119 other pictures without faces (skimage's, OpenCV's
// samples), 11 have a false detection over 0.25 and 4 over 0.5; the highest is 0.66. Detections
// under 0.05 are not reported.
//
// Parameters (parameters { key: ... value: { string_value: ... } }):
//   cascade          required: the name of a file in the version's folder or in
//                    /usr/share/opencv4/{haar,lbp}cascades; the old format (opencv_storage with a
//                    `size` node) is refused
//   scale_factor     1.2   (1.01 to 2)    ratio of one window size to the next; 1.1 finds about 2 %
//                                         more and takes 1.8 times as long
//   min_size         24    (8 to 4096)    smallest object, pixels of the shrunk picture
//   max_side         1024  (64 to 8192)   larger pictures are shrunk to it first
//   confidence_half  50    (0.001 to 1e6) h above; other cascades have other margins
#pragma once

#include <filesystem>
#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Makes one instance of a completed configuration. INVALID_ARGUMENT when a parameter is out of
// range, or the cascade is not found or cannot be read.
absl::StatusOr<std::unique_ptr<Engine>> MakeCascadeEngine(
    const inference::ModelConfig& config, const std::filesystem::path& version_folder);

}  // namespace inferpool::modelserver
