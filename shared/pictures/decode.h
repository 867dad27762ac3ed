// Decodes pictures.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Decodes the whole picture to CV_8UC3 BGR of UprightSize(header), with the EXIF orientation
// applied. `header` must be the result of ReadHeader for the same bytes. 16-bit samples lose their
// low byte. An alpha channel is dropped, not blended, as by cv::IMREAD_COLOR. An animation gives
// its first frame, an animated PNG the picture for programs that show no animations.
//
// `reduction` is 1, 2, 4 or 8. A JPEG is decoded to Reduced(UprightSize(header), reduction)
// (jpeg.h) and checked as closely as a full one. Other formats are decoded in full. The pixels are
// continuous when `reduction` is 1.
//
// Memory: 3 bytes per pixel (JPEG in CMYK: 7), twice that while the picture is turned upright. A
// progressive JPEG takes up to 6 more bytes per pixel of the whole picture, however reduced. The
// caller must have checked width x height against its limit; OpenCV's limit is 2^30. Thread safe,
// and calls do not affect each other: the result depends on the arguments and the clock only.
//
// DATA_LOSS: the picture does not have the header's size, or a row of the first frame is missing or
// cannot be trusted. There is never half a picture. Bytes after the last row do not matter. The
// header of each format says more.
// DEADLINE_EXCEEDED: `deadline` passed; decoding ends soon after it.
// RESOURCE_EXHAUSTED: out of memory.
absl::StatusOr<cv::Mat> Decode(std::string_view bytes, const Header& header, int reduction = 1,
                               Deadline deadline = Deadline::Never());

// Decodes the picture's brightness to CV_8UC1 of Reduced(UprightSize(header), reduction). A JPEG
// takes less time and memory so than by Decode; another format is decoded in full and then made
// small. Otherwise as Decode.
absl::StatusOr<cv::Mat> DecodeGrey(std::string_view bytes, const Header& header, int reduction,
                                   Deadline deadline = Deadline::Never());

// The brightness of a CV_8UC3 BGR picture, as DecodeGrey gives it. Thread safe.
cv::Mat GreyOf(const cv::Mat& bgr, int reduction);

}  // namespace inferpool::vision
