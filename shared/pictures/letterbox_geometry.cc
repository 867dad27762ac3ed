#include "shared/pictures/letterbox_geometry.h"

#include <algorithm>
#include <cmath>

namespace inferpool::vision {

int RoundHalfToEven(double value) {
  return static_cast<int>(std::lrint(value));  // the default rounding mode of <cmath>
}

cv::Rect LetterboxContent(cv::Size picture, cv::Size input) {
  const double ratio = std::min(static_cast<double>(input.height) / picture.height,
                                static_cast<double>(input.width) / picture.width);
  const int width = std::clamp(RoundHalfToEven(picture.width * ratio), 1, input.width);
  const int height = std::clamp(RoundHalfToEven(picture.height * ratio), 1, input.height);
  return {RoundHalfToEven((input.width - width) / 2.0 - 0.1),
          RoundHalfToEven((input.height - height) / 2.0 - 0.1), width, height};
}

}  // namespace inferpool::vision
