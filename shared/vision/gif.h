// GIF by giflib: the first frame.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/vision/header.h"

namespace inferpool::vision {

// Decodes the first frame to continuous CV_8UC3 BGR of the header's size. Transparent pixels have
// the colour that their palette gives them; around a frame that does not fill the picture there is
// the background colour, or black. Memory: 3 bytes a pixel. Thread safe.
//
// DATA_LOSS: cut off or corrupt.
absl::StatusOr<cv::Mat> DecodeGif(std::string_view bytes, const Header& header);

}  // namespace inferpool::vision
