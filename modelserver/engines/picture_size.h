// How large an encoded picture is, before memory is spent on its pixels.
#pragma once

#include <opencv2/core/types.hpp>
#include <string_view>

#include "shared/status.h"

namespace inferpool::modelserver {

// The stored width and height of a JPEG, PNG or WebP picture, each at least 1. Calls no codec.
// Error: INVALID_ARGUMENT for another format, a header that is damaged, and a JPEG that ends before
// its end marker, which the codec would fill up with grey.
// Sources: ITU-T T.81 annex B; PNG 5.2, 11.2.2; RFC 9649, RFC 6386.
absl::StatusOr<cv::Size> EncodedPictureSize(std::string_view picture);

}  // namespace inferpool::modelserver
