// Cuts out of a picture what was found in it, turned upright, and puts what is found there back
// into the picture.
#pragma once

#include <array>
#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>

#include "worker/vision/postprocess.h"

namespace inferpool::analyze {

// A rectangle of the picture, perhaps a turned one, which may reach beyond the picture.
struct Crop {
  // In the picture's pixels, clockwise; the first is the crop's top left.
  std::array<vision::Point, 4> corners;
  cv::Size size;  // of the crop's own pixels
  // The crop is not turned and lies on whole pixels of the picture, so its pixels are the
  // picture's.
  bool is_view = false;
};

// The longer a side, the more memory: a turned crop of more pixels is cut out at a smaller scale.
inline constexpr int kMaxCropPixels = 4'000'000;

// Where something was found: its turned box, where the detection has one, else its box, rounded
// outwards to whole pixels and clipped to the picture. Both sides are at least one pixel.
Crop CropOf(const vision::Detection& found, cv::Size picture);

// The same part of the picture, when it turns out to be turned clockwise by so many quarters: the
// returned crop is turned back.
Crop TurnedBack(const Crop& crop, int quarters);

// The crop's pixels: a part of `picture`, or new ones, of crop.size. Beyond the picture they are
// those of its edge.
cv::Mat Pixels(const cv::Mat& picture, const Crop& crop);

// A detection in the crop's pixels as one in the picture's. In a crop that is not a view it has the
// corners of a turned box. Box, keypoints and mask are clipped to the picture.
vision::Detection ToPicture(vision::Detection in_crop, const Crop& crop, cv::Size picture);

}  // namespace inferpool::analyze
