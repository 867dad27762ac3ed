// Draws text on pictures with OpenCV's built-in strokes (Hershey's), which cover only ASCII.
#pragma once

#include <opencv2/core/mat.hpp>
#include <string>
#include <string_view>

namespace inferpool::vision {

// Returns the part of `utf8` that can be drawn. Latin letters lose their accents. A run of anything
// else (other scripts, control characters, bytes that are not UTF-8) becomes one '?'. A text of
// more than 40 characters is cut to 40, of which the last three are dots. Empty when no character
// is left.
std::string Drawable(std::string_view utf8);

// A line of text and its size in pixels.
class Text {
 public:
  // `ascii`, printable; `capital`, at least 1: the height of a capital letter in pixels. At most
  // `max_width` pixels wide, which makes the letters narrower than they should be.
  Text(std::string ascii, int capital, int max_width);

  cv::Size size() const { return size_; }

  // Draws it with the upper left corner at `at`; what lies outside of the picture is cut off.
  void PaintOn(cv::Mat& bgr, cv::Point at, const cv::Scalar& colour) const;

 private:
  // How much of each pixel the strokes cover: CV_8UC1 of `size_`.
  cv::Mat Coverage() const;

  std::string ascii_;
  // Letters are drawn so many times larger, in these units, and shrunk to `size_`: strokes have
  // whole pixels of width, and OpenCV's own smooth lines take longer.
  int finer_;
  int capital_;
  int stroke_;
  cv::Size fine_size_;
  cv::Size size_;
};

}  // namespace inferpool::vision
