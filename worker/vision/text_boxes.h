// Finds lines of text in the probability map of a text detector (differentiable binarization, "DB":
// Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", 2020). Pure.
#pragma once

#include <array>
#include <opencv2/core/mat.hpp>
#include <opencv2/core/types.hpp>
#include <vector>

namespace inferpool::vision {

// The defaults are PaddleOCR's for its PP-OCR models (tools/infer/utility.py and
// ppocr/postprocess/db_postprocess.py, release 2.7).
struct TextBoxLimits {
  float pixel = 0.3F;   // a pixel with a higher probability is text
  float box = 0.6F;     // the mean probability within a box must be at least this
  float unclip = 1.5F;  // how far a box grows: by area * unclip / perimeter on each side
};

// A rectangle that may be turned. Coordinates are in the map's pixels, whose first one reaches from
// 0 to 1.
struct TextBox {
  // Clockwise. The first one is the top left of the text, the second one its top right, unless the
  // text is upside down.
  std::array<cv::Point2f, 4> corners;
  float confidence = 0;  // the mean probability within the box before it grew
};

// Returns the boxes of the regions of `probabilities`, CV_32FC1. A net is trained on regions that
// are smaller than the text, so that neighbours do not touch; hence the boxes grow. Boxes of which
// the shorter side is less than 3 pixels, or 5 after it grew, are dropped, as in PaddleOCR. There
// are at most 1,000 boxes. The order is not specified.
//
// The text is taken to run along the longer side, from left to right, or downwards if that side is
// vertical. A box that is less than 1.5 times longer than wide is taken to be turned by at most 45
// degrees. A region is its outline; holes in it do not count.
std::vector<TextBox> FindTextBoxes(const cv::Mat& probabilities, const TextBoxLimits& limits);

}  // namespace inferpool::vision
