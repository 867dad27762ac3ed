// One frame of a WebP picture, by libwebp.
#pragma once

#include <absl/status/status.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"

namespace inferpool::vision {

// Decodes `bytes`, a still WebP file or the chunks of an animation's frame, into `pixels`, CV_8UC3
// BGR of the frame's size, which may be a part of a larger picture. An alpha channel is dropped.
// Memory: libwebp's for the frame. Thread safe.
//
// DATA_LOSS: the frame is cut off, corrupt or of another size.
// DEADLINE_EXCEEDED: `deadline` passed before the last row. It is checked after every 16th part of
// the bytes.
// RESOURCE_EXHAUSTED: out of memory.
absl::Status DecodeWebpFrame(std::string_view bytes, const cv::Mat& pixels, Deadline deadline);

}  // namespace inferpool::vision
