// GIF by giflib: the first frame.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Decodes the first frame to continuous CV_8UC3 BGR of the header's size. Transparent pixels have
// their palette's colour. The background colour, or black, surrounds a frame that does not fill the
// picture. Memory: 3 bytes per pixel. Thread safe.
//
// DATA_LOSS: pixels of the frame are missing or corrupt. Whatever follows them, or is missing
// there, does not matter. DEADLINE_EXCEEDED: `deadline` passed before the last row.
absl::StatusOr<cv::Mat> DecodeGif(std::string_view bytes, const Header& header, Deadline deadline);

}  // namespace inferpool::vision
