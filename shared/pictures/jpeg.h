// JPEG by libjpeg-turbo: 1.4 to 1.9 times faster than cv::imdecode, and it reports damage that
// cv::imdecode hides.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// What a side of a JPEG comes to when it is decoded at 1/`reduction`: rounded, so 0 where less than
// half a pixel is left.
int ReducedSide(int side, int reduction);

// The size of a JPEG that is decoded so: at least one pixel on each axis.
cv::Size Reduced(cv::Size size, int reduction);

// Decodes to a CV_8UC3 BGR picture of the stored size, or of Reduced(stored size, reduction); the
// orientation is not applied. Continuous unless it is reduced.
// Grey, YCbCr, RGB, CMYK and YCCK. CMYK is taken as inverted (Adobe's way, which all known writers
// follow), and turned to BGR without a colour profile, as Pillow does. Every call has a libjpeg
// object of its own, so tables come from `bytes` only; Huffman tables that are missing are the
// standard ones (ITU-T T.81, K.3), as Motion JPEG means them. Thread safe.
//
// DATA_LOSS: pixels are missing or cannot be trusted. The picture is accepted when nothing of it is
// missing: with wrong scan parameters of a sequential picture, unknown JFIF versions and Adobe
// transforms, bytes that belong to no segment, and whatever follows the last row, the
// end-of-image marker or none. The decoder of arithmetic coding takes missing bytes for zeros, so
// for such a picture an early end of the file and surplus bytes count as damage; an end-of-image
// marker that comes too early is found only when the rest is no valid code.
// DEADLINE_EXCEEDED: `deadline` passed before the last row; it is looked at every few rows of
// every scan.
// RESOURCE_EXHAUSTED: out of memory.
absl::StatusOr<cv::Mat> DecodeJpeg(std::string_view bytes, const Header& header, int reduction,
                                   Deadline deadline);

}  // namespace inferpool::vision
