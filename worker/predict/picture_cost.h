// Which pictures are heavy work (shared/board/heavy_work.h), judged by their headers.
#pragma once

#include <cstdint>
#include <opencv2/core/types.hpp>
#include <string_view>

#include "fcgi/wire/request.h"
#include "shared/board/heavy_steps.h"
#include "shared/pictures/header.h"

namespace inferpool::predict {

struct PictureCost {
  std::uint64_t bytes;  // of memory, at most
  bool heavy;           // takes some 100 ms of a processor, or a good deal of memory
};

// Of ReadPicture and ReadPictures (picture_input.h): JSON is parsed and its base64 decoded.
PictureCost ReadingCost(const fcgi::Request& request);

// Of vision::Decode.
PictureCost DecodeCost(std::string_view picture, const vision::Header& header, int reduction);

// Of drawing into the pixels of a picture of that size, and of encoding it. `decoded`: what it
// takes to decode it again first, or nothing.
PictureCost DrawCost(cv::Size picture, const PictureCost& decoded);

// The step of what costs so much: an empty one where it is not heavy.
absl::StatusOr<HeavyStep> BeginStep(HeavySteps& steps, const PictureCost& cost,
                                    const Patience& patience);

}  // namespace inferpool::predict
