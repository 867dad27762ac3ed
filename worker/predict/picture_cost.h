// Estimates from a picture's header whether it is heavy work (shared/board/heavy_work.h).
#pragma once

#include <cstdint>
#include <opencv2/core/types.hpp>
#include <string_view>

#include "fcgi/wire/request.h"
#include "shared/board/heavy_steps.h"
#include "shared/pictures/header.h"

namespace inferpool::predict {

struct PictureCost {
  std::uint64_t bytes;  // an upper bound for its memory
  bool heavy;           // it takes more than some 100 ms of CPU time or 20 MB of memory
};

// The cost of ReadPicture and ReadPictures (picture_input.h), which parse JSON and decode base64.
PictureCost ReadingCost(const fcgi::Request& request);

// The cost of vision::Decode.
PictureCost DecodeCost(std::string_view picture, const vision::Header& header, int reduction);

// The cost of drawing into a picture of that size and encoding it. `decoded` is the cost of
// decoding it again first, or zero.
PictureCost DrawCost(cv::Size picture, const PictureCost& decoded);

// Begins a heavy step. The step is empty when `cost` is not heavy. Errors: as HeavySteps::Begin;
// see http::HeavyProblem.
absl::StatusOr<HeavyStep> BeginStep(HeavySteps& steps, const PictureCost& cost,
                                    const Patience& patience);

}  // namespace inferpool::predict
