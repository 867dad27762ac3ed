// JPEG by libjpeg-turbo: 1.4 to 1.9 times faster than cv::imdecode, and it reports damage that
// cv::imdecode hides.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Returns the length of a JPEG's side after decoding at 1/`reduction`, rounded: 0 where less than
// half a pixel is left.
int ReducedSide(int side, int reduction);

// Returns the size of a JPEG decoded at 1/`reduction`: at least one pixel on each axis.
cv::Size Reduced(cv::Size size, int reduction);

// Decodes to a CV_8UC3 BGR picture of the stored size, or of Reduced(stored size, reduction); the
// orientation is not applied. The pixels are continuous unless the picture is reduced.
// Decodes grey, YCbCr, RGB, CMYK and YCCK. CMYK counts as inverted (Adobe's way, which all known
// writers follow) and is turned to BGR without a colour profile, as in Pillow. Every call has a
// libjpeg object of its own, so tables come from `bytes` only. Missing Huffman tables are the
// standard ones (ITU-T T.81, K.3), as in Motion JPEG. Thread safe.
//
// DATA_LOSS: pixels are missing or cannot be trusted. Other damage is accepted: wrong scan
// parameters of a sequential picture, unknown JFIF versions and Adobe transforms, bytes that belong
// to no segment, a restart marker with a number far off, and anything after the last row, also a
// missing end-of-image marker. The decoder of arithmetic coding reads missing bytes as zeros, so
// for such a picture an early end of the file and surplus bytes count as damage; an early
// end-of-image marker is found only when the rest is not a valid code. DEADLINE_EXCEEDED:
// `deadline` passed before the last row. It is checked every few rows of every scan.
// RESOURCE_EXHAUSTED: out of memory.
absl::StatusOr<cv::Mat> DecodeJpeg(std::string_view bytes, const Header& header, int reduction,
                                   Deadline deadline);

// The same as CV_8UC1, brightness only: where the file has it on its own, nothing is done with its
// colours but to check them.
absl::StatusOr<cv::Mat> DecodeGreyJpeg(std::string_view bytes, const Header& header, int reduction,
                                       Deadline deadline);

}  // namespace inferpool::vision
