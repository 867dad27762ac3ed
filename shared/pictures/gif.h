// GIF by giflib: the first frame.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Decodes the first frame to continuous CV_8UC3 BGR of the header's size. Transparent pixels have
// the colour that their palette gives them; around a frame that does not fill the picture there is
// the background colour, or black. Memory: 3 bytes a pixel. Thread safe.
//
// DATA_LOSS: the frame is cut off or corrupt; what follows its pixels is not read.
// DEADLINE_EXCEEDED: `deadline` passed before the last row.
absl::StatusOr<cv::Mat> DecodeGif(std::string_view bytes, const Header& header, Deadline deadline);

}  // namespace inferpool::vision
