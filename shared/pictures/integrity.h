// Cheap checks of a picture's outer structure, before memory for its pixels is spent.
#pragma once

#include <absl/status/status.h>

#include <string_view>

#include "shared/pictures/header.h"

namespace inferpool::vision {

// DATA_LOSS when `bytes` cannot hold the whole picture that `header` (read from them) promises:
// - WebP: shorter than its RIFF length;
// - GIF: the bytes end before the pixels of the first frame;
// - JPEG: more scans than kMaxJpegScans (shared/pictures/jpeg_scans.h), which would take minutes;
// - JPEG and PNG: more pixels than the format's best compression can put into so few bytes.
// OK does not mean that the compressed data is good; the decoders check that.
absl::Status CheckIntegrity(std::string_view bytes, const Header& header);

}  // namespace inferpool::vision
