// Pixels to bytes.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <string>

namespace inferpool::vision {

enum class Encoding { kJpeg, kPng };

// Whether a picture of this size can be written so: a JPEG's sides have at most 65,500 pixels,
// which is libjpeg's limit.
bool CanEncode(cv::Size size, Encoding encoding);

// The file of `bgr`, which is CV_8UC3. JPEG: quality 90, with all the colour of thin lines (4:4:4).
// PNG: compressed fast. Thread safe.
//
// OUT_OF_RANGE: its size cannot be encoded so. RESOURCE_EXHAUSTED: out of
// memory. INVALID_ARGUMENT: `bgr` is not as said.
absl::StatusOr<std::string> EncodePicture(const cv::Mat& bgr, Encoding encoding);

}  // namespace inferpool::vision
