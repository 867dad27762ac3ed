// Draws detections and classes onto the picture, for people to look at.
#pragma once

#include <absl/status/status.h>

#include <opencv2/core/mat.hpp>
#include <span>
#include <string>

#include "worker/vision/families/detection.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Draws each box of a Postprocess result with a label such as "cat 0.87", or with what is written
// there instead of the class. A turned box is drawn turned, a mask as a tint, and a keypoint as a
// dot when its confidence is at least 0.25. The most confident one lies on top. Lines and letters
// grow with the picture, and labels stay inside it. The colours are Okabe and Ito's, which
// colour-blind people can tell apart; class n and class n + 7 share one. A class without a name
// that can be drawn (text.h) is "class 12".
//
// `bgr` is CV_8UC3. Thread safe. RESOURCE_EXHAUSTED: out of memory.
absl::Status Draw(cv::Mat& bgr, std::span<const Detection> detections,
                  std::span<const std::string> class_names);

// Writes the texts and their confidences, with bars, into the upper left corner.
absl::Status Draw(cv::Mat& bgr, std::span<const TextLine> lines);

// Writes the classes and their probabilities in the same way.
absl::Status Draw(cv::Mat& bgr, const Classification& classification,
                  std::span<const std::string> class_names);

}  // namespace inferpool::vision
