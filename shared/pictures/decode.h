// Bytes to pixels.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Decodes the whole picture to CV_8UC3 BGR, of UprightSize(header), with the EXIF orientation
// applied. `header` is what ReadHeader made of the same bytes. 16-bit samples lose their low byte;
// an alpha channel is dropped, not blended, as cv::IMREAD_COLOR does. Of an animation it is the
// first frame, of an animated PNG the picture that is shown where animations are not.
//
// `reduction`, 1, 2, 4 or 8: a JPEG is decoded to Reduced(UprightSize(header), reduction) (jpeg.h),
// and checked as closely as otherwise; other formats are decoded in full. The pixels are continuous
// when it is 1.
//
// Memory: 3 bytes a pixel (JPEG in CMYK: 7), twice that while it is turned upright; a progressive
// JPEG has up to 6 bytes a pixel of the whole picture besides, however reduced. The caller has
// checked width x height against its limit; OpenCV's own is 2^30. Thread safe, and nothing of one
// call is seen by the next: the answer depends on the arguments and the clock only.
//
// DATA_LOSS: not of the header's size, or a row of the first frame is missing or cannot be trusted;
// never half a picture. What follows the last row does not count. Each format's own header says
// more.
// DEADLINE_EXCEEDED: `deadline` passed in the midst; decoding ends soon after it.
// RESOURCE_EXHAUSTED: out of memory.
absl::StatusOr<cv::Mat> Decode(std::string_view bytes, const Header& header, int reduction = 1,
                               Deadline deadline = Deadline::Never());

}  // namespace inferpool::vision
