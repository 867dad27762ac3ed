// Encodes pictures.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <string>

namespace inferpool::vision {

enum class Encoding { kJpeg, kPng };

// Whether a picture of this size can be encoded. A JPEG's sides have at most 65,500 pixels, which
// is libjpeg's limit.
bool CanEncode(cv::Size size, Encoding encoding);

// Encodes `bgr`, which must be CV_8UC3. A JPEG has quality 90 and full colour resolution (4:4:4),
// for thin lines. A PNG is compressed fast. Thread safe.
//
// OUT_OF_RANGE: CanEncode is false. RESOURCE_EXHAUSTED: out of memory. INVALID_ARGUMENT: `bgr` is
// not CV_8UC3.
absl::StatusOr<std::string> EncodePicture(const cv::Mat& bgr, Encoding encoding);

}  // namespace inferpool::vision
