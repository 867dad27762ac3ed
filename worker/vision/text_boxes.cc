#include "worker/vision/text_boxes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace inferpool::vision {
namespace {

constexpr std::size_t kMaxBoxes = 1000;
constexpr float kMinSide = 3;
constexpr float kMinGrownSide = 5;
constexpr float kLineAspect = 1.5F;

using Contour = std::vector<cv::Point>;

float ShorterSide(const cv::RotatedRect& box) {
  return std::min(box.size.width, box.size.height);
}

// The outlines of the regions. Those inside of a hole count, the hole's own outline does not.
std::vector<Contour> Outlines(const cv::Mat& probabilities, float threshold) {
  const cv::Mat is_text = probabilities > threshold;
  std::vector<Contour> contours;
  std::vector<cv::Vec4i> hierarchy;
  cv::findContours(is_text, contours, hierarchy, cv::RETR_CCOMP, cv::CHAIN_APPROX_SIMPLE);
  std::vector<Contour> outlines;
  for (std::size_t i = 0; i < contours.size(); ++i) {
    constexpr int kParent = 3;
    if (hierarchy[i][kParent] < 0) {
      outlines.push_back(std::move(contours[i]));
    }
  }
  return outlines;
}

float MeanWithin(const cv::Mat& probabilities, const cv::RotatedRect& box) {
  const cv::Rect around = box.boundingRect() & cv::Rect({0, 0}, probabilities.size());
  if (around.empty()) {
    return 0;
  }
  std::array<cv::Point2f, 4> corners;
  box.points(corners.data());
  constexpr int kFractionBits = 4;
  constexpr float kFractions = 1 << kFractionBits;
  std::array<cv::Point, 4> polygon;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const cv::Point2f corner = corners[i] - cv::Point2f(around.tl());
    polygon[i] = {cvRound(corner.x * kFractions), cvRound(corner.y * kFractions)};
  }
  cv::Mat mask = cv::Mat::zeros(around.size(), CV_8UC1);
  cv::fillConvexPoly(mask, polygon, 255, cv::LINE_8, kFractionBits);
  return static_cast<float>(cv::mean(probabilities(around), mask)[0]);
}

// Moves every side outwards. The offset of a polygon by a distance has round corners; the smallest
// rectangle around it is this one.
cv::RotatedRect Grown(cv::RotatedRect box, float unclip) {
  const float area = box.size.width * box.size.height;
  const float perimeter = 2 * (box.size.width + box.size.height);
  const float distance = area * unclip / perimeter;
  box.size.width += 2 * distance;
  box.size.height += 2 * distance;
  return box;
}

std::array<cv::Point2f, 4> InReadingOrder(const cv::RotatedRect& box) {
  const float radians = box.angle * static_cast<float>(CV_PI / 180);
  cv::Point2f along{std::cos(radians), std::sin(radians)};
  float length = box.size.width;
  float height = box.size.height;
  const auto [shorter, longer] = std::minmax(length, height);
  const bool is_line = longer >= kLineAspect * shorter;
  const bool is_steep = std::abs(along.y) > std::abs(along.x);
  if (is_line ? length < height : is_steep) {
    along = {-along.y, along.x};
    std::swap(length, height);
  }
  constexpr float kVertical = 1e-3F;
  if (along.x < -kVertical || (along.x < kVertical && along.y < 0)) {
    along = -along;
  }
  const cv::Point2f half_line = along * (length / 2);
  const cv::Point2f half_down = cv::Point2f(-along.y, along.x) * (height / 2);
  // Pixel 0 reaches from 0 to 1.
  const cv::Point2f centre = box.center + cv::Point2f(0.5F, 0.5F);
  return {centre - half_line - half_down, centre + half_line - half_down,
          centre + half_line + half_down, centre - half_line + half_down};
}

}  // namespace

std::vector<TextBox> FindTextBoxes(const cv::Mat& probabilities, const TextBoxLimits& limits) {
  std::vector<TextBox> boxes;
  for (const Contour& outline : Outlines(probabilities, limits.pixel)) {
    const cv::RotatedRect core = cv::minAreaRect(outline);
    if (ShorterSide(core) < kMinSide) {
      continue;
    }
    const float confidence = MeanWithin(probabilities, core);
    const cv::RotatedRect box = Grown(core, limits.unclip);
    if (confidence < limits.box || ShorterSide(box) < kMinGrownSide) {
      continue;
    }
    boxes.push_back({InReadingOrder(box), confidence});
    if (boxes.size() == kMaxBoxes) {
      break;
    }
  }
  return boxes;
}

}  // namespace inferpool::vision
