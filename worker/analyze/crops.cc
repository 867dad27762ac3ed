#include "worker/analyze/crops.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <opencv2/imgproc.hpp>

namespace inferpool::analyze {
namespace {

using vision::Point;

float Distance(Point a, Point b) {
  return std::hypot(b.x - a.x, b.y - a.y);
}

// OpenCV's warpAffine takes no longer ones.
constexpr int kMaxSide = 32'000;

// Whole pixels for the lengths, fewer where they would be too many.
cv::Size SizeOf(double width, double height) {
  width = std::max(width, 1.0);
  height = std::max(height, 1.0);
  if (const double pixels = width * height; pixels > kMaxCropPixels) {
    const double scale = std::sqrt(kMaxCropPixels / pixels);
    width *= scale;
    height *= scale;
  }
  const auto side = [](double length) {
    return static_cast<int>(std::clamp(std::round(length), 1.0, double{kMaxSide}));
  };
  return {side(width), side(height)};
}

std::array<Point, 4> CornersOf(float left, float top, float right, float bottom) {
  return {Point{left, top}, Point{right, top}, Point{right, bottom}, Point{left, bottom}};
}

// From the crop's pixels to the picture's.
struct Affine {
  explicit Affine(const Crop& crop)
      : origin(crop.corners[0]),
        x_step{(crop.corners[1].x - origin.x) / static_cast<float>(crop.size.width),
               (crop.corners[1].y - origin.y) / static_cast<float>(crop.size.width)},
        y_step{(crop.corners[3].x - origin.x) / static_cast<float>(crop.size.height),
               (crop.corners[3].y - origin.y) / static_cast<float>(crop.size.height)} {}

  Point operator()(float x, float y) const {
    return {origin.x + x * x_step.x + y * y_step.x, origin.y + x * x_step.y + y * y_step.y};
  }

  Point origin;
  Point x_step;
  Point y_step;
};

// The pixels of the picture that the crop needs.
cv::Rect Around(const Crop& crop, cv::Size picture) {
  const auto [left, right] = std::ranges::minmax(crop.corners, {}, &Point::x);
  const auto [top, bottom] = std::ranges::minmax(crop.corners, {}, &Point::y);
  const auto span = [](float low, float high, int side) {
    const int begin = static_cast<int>(std::clamp(std::floor(double{low}) - 1, 0.0, side - 1.0));
    const int end = static_cast<int>(
        std::clamp(std::ceil(double{high}) + 1, begin + 1.0, static_cast<double>(side)));
    return cv::Range(begin, end);
  };
  const cv::Range x = span(left.x, right.x, picture.width);
  const cv::Range y = span(top.y, bottom.y, picture.height);
  return {x.start, y.start, x.size(), y.size()};
}

Point Clipped(Point at, cv::Size picture) {
  return {std::clamp(at.x, 0.0F, static_cast<float>(picture.width)),
          std::clamp(at.y, 0.0F, static_cast<float>(picture.height))};
}

}  // namespace

Crop CropOf(const vision::Detection& found, cv::Size picture) {
  if (found.corners.size() == 4) {
    Crop crop;
    std::ranges::copy(found.corners, crop.corners.begin());
    const auto& at = crop.corners;
    crop.size = SizeOf(std::max(Distance(at[0], at[1]), Distance(at[3], at[2])),
                       std::max(Distance(at[0], at[3]), Distance(at[1], at[2])));
    return crop;
  }
  const auto first = [](float edge, int side) {
    return std::clamp(static_cast<int>(std::floor(edge)), 0, side - 1);
  };
  const auto end = [](float edge, int begin, int side) {
    return std::clamp(static_cast<int>(std::ceil(edge)), begin + 1, side);
  };
  const int left = first(found.x1, picture.width);
  const int top = first(found.y1, picture.height);
  const int right = end(found.x2, left, picture.width);
  const int bottom = end(found.y2, top, picture.height);
  return {.corners = CornersOf(static_cast<float>(left), static_cast<float>(top),
                               static_cast<float>(right), static_cast<float>(bottom)),
          .size = {right - left, bottom - top},
          .is_view = true};
}

Crop TurnedBack(const Crop& crop, int quarters) {
  Crop turned = crop;
  turned.is_view = crop.is_view && quarters % 4 == 0;
  // What is seen turned clockwise by one quarter has its own top left at the top right.
  auto& corners = turned.corners;
  std::rotate(corners.begin(), corners.begin() + quarters % 4, corners.end());
  if (quarters % 2 != 0) std::swap(turned.size.width, turned.size.height);
  return turned;
}

cv::Mat Pixels(const cv::Mat& picture, const Crop& crop) {
  if (crop.is_view) {
    return picture(cv::Rect(
        {static_cast<int>(crop.corners[0].x), static_cast<int>(crop.corners[0].y)}, crop.size));
  }
  const Affine affine(crop);
  const cv::Rect around = Around(crop, picture.size());
  cv::Mat source = picture(around);
  double x_scale = 1;
  double y_scale = 1;
  if (std::max(source.cols, source.rows) > kMaxSide) {
    const cv::Size size(std::min(source.cols, kMaxSide), std::min(source.rows, kMaxSide));
    x_scale = static_cast<double>(size.width) / source.cols;
    y_scale = static_cast<double>(size.height) / source.rows;
    cv::Mat smaller;
    cv::resize(source, smaller, size, 0, 0, cv::INTER_AREA);
    source = smaller;
  }
  // Between the middles of pixels: that of the first pixel is at (0.5, 0.5).
  const Point first = affine(0.5F, 0.5F);
  const cv::Matx23d matrix(x_scale * affine.x_step.x, x_scale * affine.y_step.x,
                           x_scale * (double{first.x} - around.x) - 0.5,  //
                           y_scale * affine.x_step.y, y_scale * affine.y_step.y,
                           y_scale * (double{first.y} - around.y) - 0.5);
  cv::Mat pixels;
  cv::warpAffine(source, pixels, matrix, crop.size, cv::INTER_LINEAR | cv::WARP_INVERSE_MAP,
                 cv::BORDER_REPLICATE);
  return pixels;
}

vision::Detection ToPicture(vision::Detection in_crop, const Crop& crop, cv::Size picture) {
  const Affine affine(crop);
  const auto clipped = [&](float& x, float& y) {
    const Point at = Clipped(affine(x, y), picture);
    x = at.x;
    y = at.y;
  };
  if (in_crop.corners.empty() && !crop.is_view) {
    const auto corners = CornersOf(in_crop.x1, in_crop.y1, in_crop.x2, in_crop.y2);
    in_crop.corners.assign(corners.begin(), corners.end());
  }
  for (Point& corner : in_crop.corners) corner = affine(corner.x, corner.y);
  if (crop.is_view) {
    clipped(in_crop.x1, in_crop.y1);
    clipped(in_crop.x2, in_crop.y2);
  } else {
    const auto [left, right] = std::ranges::minmax(in_crop.corners, {}, &Point::x);
    const auto [top, bottom] = std::ranges::minmax(in_crop.corners, {}, &Point::y);
    const Point low = Clipped({left.x, top.y}, picture);
    const Point high = Clipped({right.x, bottom.y}, picture);
    in_crop.x1 = low.x;
    in_crop.y1 = low.y;
    in_crop.x2 = high.x;
    in_crop.y2 = high.y;
  }
  for (vision::Keypoint& keypoint : in_crop.keypoints) clipped(keypoint.x, keypoint.y);
  for (vision::Polygon& polygon : in_crop.mask) {
    for (Point& point : polygon) clipped(point.x, point.y);
  }
  return in_crop;
}

}  // namespace inferpool::analyze
