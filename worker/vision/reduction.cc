#include "worker/vision/reduction.h"

#include <algorithm>
#include <cstdint>

namespace inferpool::vision {
namespace {

int Rounded(int side, int reduction) {
  return static_cast<int>((std::int64_t{side} + reduction / 2) / reduction);
}

// Whether a side of which `source` pixels become `content` has enough of them when its `picture`
// pixels are reduced. Never, when less than half a pixel is left: the rest would be padding.
bool Suffices(int source, int content, int picture, int reduction) {
  return std::int64_t{source} * Rounded(picture, reduction) >= std::int64_t{content} * picture;
}

}  // namespace

cv::Size Reduced(cv::Size size, int reduction) {
  return {std::max(1, Rounded(size.width, reduction)),
          std::max(1, Rounded(size.height, reduction))};
}

int Reduction(const Header& header, const Placement& placement) {
  if (header.format != Format::kJpeg) {
    return 1;
  }
  const cv::Size picture = placement.picture;
  const cv::Rect& source = placement.source;
  const cv::Rect& content = placement.content;
  for (const int reduction : {8, 4, 2}) {
    if (Suffices(source.width, content.width, picture.width, reduction) &&
        Suffices(source.height, content.height, picture.height, reduction)) {
      return reduction;
    }
  }
  return 1;
}

}  // namespace inferpool::vision
