// PNG by libpng.
#pragma once

#include <absl/status/statusor.h>

#include <opencv2/core/mat.hpp>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {

// Decodes to continuous CV_8UC3 BGR of the header's size. An animation gives the picture for
// programs that show no animations. 16-bit samples lose their low byte, an alpha channel is
// dropped. Chunks that do not affect these pixels are skipped unread, because texts and colour
// profiles may unpack to gigabytes. Memory: 3 bytes per pixel and a few rows. Thread safe.
//
// DATA_LOSS: a row is missing, or the checksum of a critical chunk up to the data is wrong. The end
// of the compressed data, its checksum (the chunks have their own), a checksum that is cut off with
// the end of the file, and bytes after it do not matter. DEADLINE_EXCEEDED: `deadline` passed
// before the last row.
absl::StatusOr<cv::Mat> DecodePng(std::string_view bytes, const Header& header, Deadline deadline);

}  // namespace inferpool::vision
