#include "worker/vision/text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <opencv2/imgproc.hpp>
#include <optional>
#include <utility>

#include "shared/base/utf8.h"

namespace inferpool::vision {
namespace {

// The letters of the blocks Latin-1 Supplement (from U+00C0) and Latin Extended-A, bared.
constexpr std::string_view kBared =
    "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYTs"
    "aaaaaaaceeeeiiiidnooooo/ouuuuyty"
    "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGg"
    "GgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlL"
    "lLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSs"
    "SsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";
constexpr std::uint32_t kFirstBared = 0xc0;
static_assert(kBared.size() == 0x180 - kFirstBared);

// '\0' for a code point that has no letter, and where there is no code point.
char Ascii(std::optional<std::uint32_t> point) {
  if (!point.has_value()) {
    return '\0';
  }
  const std::uint32_t code = *point;
  if (code >= 0x20 && code < 0x7f) {
    return static_cast<char>(code);
  }
  if (code == 0xa0 || code == '\t') {
    return ' ';
  }
  const bool bared = code >= kFirstBared && code < kFirstBared + kBared.size();
  return bared ? kBared[code - kFirstBared] : '\0';
}

constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kCapital = 21;  // pixels at scale 1

// Below the top: brackets are higher than letters.
int Baseline(int capital) {
  return capital * 6 / 5;
}

}  // namespace

std::string Drawable(std::string_view utf8) {
  constexpr std::size_t kMax = 40;
  std::string text;
  bool kept = false;
  bool in_gap = false;
  while (!utf8.empty() && text.size() <= kMax) {
    const char letter = Ascii(TakeCodePoint(utf8));
    if (letter != '\0' || !in_gap) {
      text += letter != '\0' ? letter : '?';
    }
    kept = kept || (letter != '\0' && letter != ' ');
    in_gap = letter == '\0';
  }
  if (text.size() > kMax) {
    text.replace(kMax - 3, std::string::npos, "...");
  }
  return kept ? text : "";
}

Text::Text(std::string ascii, int capital, int max_width)
    : ascii_(std::move(ascii)),
      finer_(capital < 20 ? 4 : 2),
      capital_(capital * finer_),
      stroke_(std::max(1, cvRound(capital_ * 0.13))) {
  int descent = 0;
  const cv::Size drawn = cv::getTextSize(ascii_, kFont, capital_ / kCapital, stroke_, &descent);
  const cv::Size size((drawn.width + 2 * stroke_ + finer_ - 1) / finer_,
                      (Baseline(capital_) + 2 * stroke_ + capital_ * 2 / 5 + finer_ - 1) / finer_);
  fine_size_ = size * finer_;
  size_ = {std::clamp(size.width, 1, std::max(1, max_width)), size.height};
}

cv::Mat Text::Coverage() const {
  cv::Mat fine = cv::Mat::zeros(fine_size_, CV_8UC1);
  cv::putText(fine, ascii_, {stroke_, Baseline(capital_) + stroke_}, kFont, capital_ / kCapital,
              cv::Scalar::all(255), stroke_, cv::LINE_8);
  cv::Mat coverage;
  cv::resize(fine, coverage, size_, 0, 0, cv::INTER_AREA);
  return coverage;
}

void Text::PaintOn(cv::Mat& bgr, cv::Point at, const cv::Scalar& colour) const {
  const cv::Vec3i wanted(cvRound(colour[0]), cvRound(colour[1]), cvRound(colour[2]));
  const cv::Mat coverage = Coverage();
  const cv::Rect place = cv::Rect(at, size_) & cv::Rect({0, 0}, bgr.size());
  for (int y = place.y; y < place.br().y; ++y) {
    const auto* covered_row = coverage.ptr<unsigned char>(y - at.y);
    auto* row = bgr.ptr<cv::Vec3b>(y);
    for (int x = place.x; x < place.br().x; ++x) {
      const int covered = covered_row[x - at.x];
      for (int channel = 0; channel < 3; ++channel) {
        unsigned char& value = row[x][channel];
        value = static_cast<unsigned char>(
            (value * (255 - covered) + wanted[channel] * covered + 127) / 255);
      }
    }
  }
}

}  // namespace inferpool::vision
