#include "worker/vision/families/placement.h"

#include <algorithm>

#include "shared/pictures/letterbox_geometry.h"

namespace inferpool::vision {
namespace {

int RoundToPixels(double value) {
  return std::max(1, RoundHalfToEven(value));
}

cv::Rect Whole(cv::Size size) {
  return {{0, 0}, size};
}

cv::Rect Centre(cv::Size picture, cv::Size input) {
  const double ratio = std::max(static_cast<double>(input.height) / picture.height,
                                static_cast<double>(input.width) / picture.width);
  const int width = std::min(picture.width, RoundToPixels(input.width / ratio));
  const int height = std::min(picture.height, RoundToPixels(input.height / ratio));
  return {RoundHalfToEven((picture.width - width) / 2.0),
          RoundHalfToEven((picture.height - height) / 2.0), width, height};
}

cv::Size Shrunk(cv::Size picture, int max_side) {
  const int longer = std::max(picture.width, picture.height);
  if (longer <= max_side) {
    return picture;
  }
  const double ratio = static_cast<double>(max_side) / longer;
  return {RoundToPixels(picture.width * ratio), RoundToPixels(picture.height * ratio)};
}

// One open side of the content: as the picture's shape has it, in pixels.
int OpenSide(int open, int fixed, int input, int max_side) {
  return std::min(max_side, RoundToPixels(static_cast<double>(open) * input / fixed));
}

cv::Size OpenContent(const InputLayout& layout, cv::Size picture) {
  const cv::Size fixed = layout.size;
  if (fixed.height > 0) {
    return {OpenSide(picture.width, picture.height, fixed.height, layout.max_side), fixed.height};
  }
  if (fixed.width > 0) {
    return {fixed.width, OpenSide(picture.height, picture.width, fixed.width, layout.max_side)};
  }
  return Shrunk(picture, layout.max_side);
}

int RoundUp(int side, int multiple) {
  const int beyond = side % multiple;
  return beyond == 0 ? side : side + (multiple - beyond);
}

cv::Size OpenInput(const InputLayout& layout, cv::Size content) {
  const cv::Size fixed = layout.size;
  return {fixed.width > 0 ? fixed.width : RoundUp(content.width, layout.multiple_of),
          fixed.height > 0 ? fixed.height : RoundUp(content.height, layout.multiple_of)};
}

Placement Unreduced(cv::Size picture, cv::Size input, const cv::Rect& source,
                    const cv::Rect& content) {
  return {picture, input, source, content, 1, source, Whole(picture)};
}

// std::clamp, but not-a-number passes through on every path.
float Clip(float value, int start, int length) {
  const auto min = static_cast<float>(start);
  const auto max = static_cast<float>(start + length);
  return value < min ? min : value > max ? max : value;
}

}  // namespace

Point Placement::ToPicture(Point in_input) const {
  const double scale_x = static_cast<double>(source.width) / content.width;
  const double scale_y = static_cast<double>(source.height) / content.height;
  return {static_cast<float>(source.x + (static_cast<double>(in_input.x) - content.x) * scale_x),
          static_cast<float>(source.y + (static_cast<double>(in_input.y) - content.y) * scale_y)};
}

Detection Placement::ToPicture(Detection in_input) const {
  const auto clipped = [this](float& x, float& y) {
    const Point at = ToPicture(Point{x, y});
    x = Clip(at.x, view.x, view.width);
    y = Clip(at.y, view.y, view.height);
  };
  clipped(in_input.x1, in_input.y1);
  clipped(in_input.x2, in_input.y2);
  for (Point& corner : in_input.corners) {
    corner = ToPicture(corner);
  }
  for (Keypoint& keypoint : in_input.keypoints) {
    clipped(keypoint.x, keypoint.y);
  }
  for (Polygon& polygon : in_input.mask) {
    for (Point& point : polygon) {
      clipped(point.x, point.y);
    }
  }
  return in_input;
}

Placement Place(const InputLayout& layout, cv::Size picture) {
  if (layout.size.empty()) {
    const cv::Size content = OpenContent(layout, picture);
    return Unreduced(picture, OpenInput(layout, content), Whole(picture), Whole(content));
  }
  switch (layout.resize) {
    case Resize::kLetterbox:
      return Unreduced(picture, layout.size, Whole(picture),
                       LetterboxContent(picture, layout.size));
    case Resize::kCrop:
      return Unreduced(picture, layout.size, Centre(picture, layout.size), Whole(layout.size));
    case Resize::kStretch:
      break;
  }
  return Unreduced(picture, layout.size, Whole(picture), Whole(layout.size));
}

Placement Place(const InputLayout& layout, cv::Size picture, const cv::Rect& view) {
  Placement placement = Place(layout, view.size());
  placement.picture = picture;
  placement.source += view.tl();
  placement.part = placement.source;
  placement.view = view;
  return placement;
}

}  // namespace inferpool::vision
