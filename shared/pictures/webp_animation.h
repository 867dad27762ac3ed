// Animated WebP by libwebp: the first frame.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Decodes the first frame to continuous CV_8UC3 BGR of the header's size, which is the canvas's.
// The canvas is black where the frame does not reach. The other frames are not read. Memory: 3
// bytes per pixel, and libwebp's for the frame. Thread safe.
//
// DATA_LOSS: cut off or corrupt. DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED: as of DecodeWebpFrame
// (webp_frame.h).
absl::StatusOr<cv::Mat> DecodeWebpAnimation(std::string_view bytes, const Header& header,
                                            Deadline deadline);

}  // namespace inferpool::vision
