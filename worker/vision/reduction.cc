#include "worker/vision/reduction.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "shared/pictures/jpeg.h"

namespace inferpool::vision {
namespace {

// A rectangle along one axis.
struct Span {
  int start;
  int length;
};

// Whether a side of which `source` pixels become `content` has enough of them when its `picture`
// pixels are reduced. Never, when less than half a pixel is left: the rest would be padding.
bool Suffices(int source, int content, int picture, int reduction) {
  return std::int64_t{source} * ReducedSide(picture, reduction) >= std::int64_t{content} * picture;
}

// What a JPEG's side has too much or too little for whole decoded pixels is at its stored end,
// which comes to lie at the start where the orientation turns that axis round.
int FirstPixel(int picture, int reduction, bool turned_round) {
  return turned_round ? picture - ReducedSide(picture, reduction) * reduction : 0;
}

// The decoded pixels that cover `source`; the first of all begins at `first` in the picture.
Span Cover(Span source, int first, int picture, int reduction) {
  const double scale = reduction;
  const int max = ReducedSide(picture, reduction);
  const int start =
      std::clamp(static_cast<int>(std::floor((source.start - first) / scale)), 0, max - 1);
  const int end = std::clamp(
      static_cast<int>(std::ceil((source.start + source.length - first) / scale)), start + 1, max);
  return {start, end - start};
}

}  // namespace

int LargestReduction(const Header& header, const Placement& placement) {
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

Placement AtReduction(const Header& header, const Placement& placement, int reduction) {
  if (reduction == 1) {
    return placement;
  }
  const cv::Size picture = placement.picture;
  const cv::Rect& source = placement.source;
  // TIFF 6.0, section 8, "Orientation": 2 and 3 are stored from right to left, and so on.
  const int orientation = header.orientation;
  const bool mirrored =
      orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool upside_down =
      orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const int left = FirstPixel(picture.width, reduction, mirrored);
  const int top = FirstPixel(picture.height, reduction, upside_down);
  const Span x = Cover({source.x, source.width}, left, picture.width, reduction);
  const Span y = Cover({source.y, source.height}, top, picture.height, reduction);

  Placement reduced = placement;
  reduced.reduction = reduction;
  reduced.part = {x.start, y.start, x.length, y.length};
  reduced.source = {left + x.start * reduction, top + y.start * reduction, x.length * reduction,
                    y.length * reduction};
  return reduced;
}

Placement Reduce(const Header& header, const Placement& placement) {
  return AtReduction(header, placement, LargestReduction(header, placement));
}

}  // namespace inferpool::vision
