#include "worker/vision/draw.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <exception>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>
#include <vector>

#include "worker/vision/text.h"

namespace inferpool::vision {
namespace {

// M. Okabe and K. Ito, "Color Universal Design" (2008), without black; blue, green, red.
const std::array<cv::Scalar, 7> kColours{cv::Scalar(0, 159, 230),  cv::Scalar(233, 180, 86),
                                         cv::Scalar(115, 158, 0),  cv::Scalar(66, 228, 240),
                                         cv::Scalar(178, 114, 0),  cv::Scalar(0, 94, 213),
                                         cv::Scalar(167, 121, 204)};
constexpr float kMinKeypointConfidence = 0.25F;
const cv::Scalar kBlack = cv::Scalar::all(0);
const cv::Scalar kWhite = cv::Scalar::all(255);

cv::Scalar ColourOf(int class_id) {
  return kColours[static_cast<std::size_t>(class_id) % kColours.size()];
}

// WCAG 2.1's relative luminance, 0 to 1.
double Luminance(const cv::Scalar& bgr) {
  const auto linear = [](double value) {
    const double share = value / 255;
    return share <= 0.04045 ? share / 12.92 : std::pow((share + 0.055) / 1.055, 2.4);
  };
  return 0.0722 * linear(bgr[0]) + 0.7152 * linear(bgr[1]) + 0.2126 * linear(bgr[2]);
}

// Black or white, whichever contrasts more (WCAG 2.1's ratio).
cv::Scalar TextColourOn(const cv::Scalar& bgr) {
  const double luminance = Luminance(bgr) + 0.05;
  return luminance / 0.05 > 1.05 / luminance ? kBlack : kWhite;
}

std::string NameOf(int class_id, std::span<const std::string> class_names) {
  const auto index = static_cast<std::size_t>(class_id);
  std::string name = index < class_names.size() ? Drawable(class_names[index]) : "";
  return name.empty() ? fmt::format("class {}", class_id) : name;
}

// What is written there, else the class.
std::string LabelOf(const Detection& found, std::span<const std::string> class_names) {
  std::string text = found.text ? Drawable(*found.text) : "";
  return text.empty() ? NameOf(found.class_id, class_names) : text;
}

// Sizes in pixels, by the picture's.
struct Style {
  int line;     // a box's frame
  int outline;  // a dark edge on both sides of it, which shows on any picture
  int capital;  // a capital letter's height
  int margin;   // around a text

  explicit Style(cv::Size picture) {
    const double side = std::sqrt(static_cast<double>(picture.width) * picture.height);
    line = std::max(2, cvRound(side / 400));
    outline = std::max(1, line / 3);
    capital = std::max(8, cvRound(side / 60));
    margin = std::max(2, capital / 3);
  }
};

void Fill(cv::Mat& bgr, const cv::Rect& place, const cv::Scalar& colour) {
  const cv::Rect visible = place & cv::Rect({0, 0}, bgr.size());
  if (!visible.empty()) {
    bgr(visible).setTo(colour);
  }
}

// A frame whose outer edge is `outer`.
void Frame(cv::Mat& bgr, const cv::Rect& outer, int width, const cv::Scalar& colour) {
  const int across = std::min(width, outer.width);
  const int down = std::min(width, outer.height);
  Fill(bgr, {outer.x, outer.y, outer.width, down}, colour);
  Fill(bgr, {outer.x, outer.br().y - down, outer.width, down}, colour);
  Fill(bgr, {outer.x, outer.y, across, outer.height}, colour);
  Fill(bgr, {outer.br().x - across, outer.y, across, outer.height}, colour);
}

std::vector<cv::Point> Rounded(const std::vector<Point>& points) {
  std::vector<cv::Point> rounded;
  rounded.reserve(points.size());
  for (const Point& at : points) {
    // OpenCV draws with 32 bits, and a turned box may reach far beyond the picture.
    constexpr float kFar = 1 << 20;
    rounded.emplace_back(cvRound(std::clamp(at.x, -kFar, kFar)),
                         cvRound(std::clamp(at.y, -kFar, kFar)));
  }
  return rounded;
}

// A closed line with a dark edge on both sides.
void Outline(cv::Mat& bgr, const std::vector<Point>& points, const Style& style,
             const cv::Scalar& colour) {
  const std::vector<cv::Point> line = Rounded(points);
  cv::polylines(bgr, line, /*isClosed=*/true, kBlack, style.line + 2 * style.outline, cv::LINE_AA);
  cv::polylines(bgr, line, /*isClosed=*/true, colour, style.line, cv::LINE_AA);
}

// Tints what lies in the polygons.
void Tint(cv::Mat& bgr, const std::vector<Polygon>& polygons, const cv::Scalar& colour) {
  constexpr double kShare = 0.4;
  std::vector<std::vector<cv::Point>> areas;
  cv::Rect around;
  for (const Polygon& polygon : polygons) {
    areas.push_back(Rounded(polygon));
    around |= cv::boundingRect(areas.back());
  }
  around &= cv::Rect({0, 0}, bgr.size());
  if (around.empty()) {
    return;
  }
  cv::Mat inside(around.size(), CV_8U, cv::Scalar(0));
  cv::fillPoly(inside, areas, cv::Scalar(255), cv::LINE_8, 0, -around.tl());
  cv::Mat part = bgr(around);
  cv::Mat tinted;
  cv::addWeighted(part, 1 - kShare, cv::Mat(part.size(), part.type(), colour), kShare, 0, tinted);
  tinted.copyTo(part, inside);
}

void DrawKeypoints(cv::Mat& bgr, const std::vector<Keypoint>& keypoints, const Style& style,
                   const cv::Scalar& colour) {
  const int radius = style.line + style.outline;
  for (const Keypoint& keypoint : keypoints) {
    if (keypoint.confidence >= kMinKeypointConfidence) {
      const cv::Point at(cvRound(keypoint.x), cvRound(keypoint.y));
      cv::circle(bgr, at, radius + style.outline, kBlack, cv::FILLED, cv::LINE_AA);
      cv::circle(bgr, at, radius, colour, cv::FILLED, cv::LINE_AA);
    }
  }
}

cv::Rect Grown(const cv::Rect& rect, int by) {
  return {rect.x - by, rect.y - by, rect.width + 2 * by, rect.height + 2 * by};
}

// The outer edge of a box's coloured line, whose middle is the box's edge, as far as that leaves
// the outline in the picture.
cv::Rect LineOf(const Detection& found, const Style& style, cv::Size picture) {
  const auto side = [&style](float from, float to, int max) {
    const int half = style.line / 2;
    const int first = std::max(cvRound(from) - half, style.outline);
    const int last = std::min(cvRound(to) + half, max - style.outline);
    return cv::Range(first, std::max(last, first + 1));
  };
  const cv::Range x = side(found.x1, found.x2, picture.width);
  const cv::Range y = side(found.y1, found.y2, picture.height);
  return {x.start, y.start, x.size(), y.size()};
}

// Of the places for a label, above the box, in its upper and its lower left, and below it, the
// first one in the picture that hides none of the `others`; otherwise the first one in the picture.
cv::Rect PlaceLabel(cv::Size label, const cv::Rect& line, cv::Size picture,
                    const std::vector<cv::Rect>& others) {
  const auto within = [](int start, int length, int max) {
    return std::clamp(start, 0, std::max(0, max - length));
  };
  const int x = within(line.x, label.width, picture.width);
  const std::array<int, 4> rows{line.y - label.height, line.y, line.br().y - label.height,
                                line.br().y};
  const auto fits = [&](int y) { return y >= 0 && y + label.height <= picture.height; };
  const auto is_free = [&](int y) {
    const cv::Rect place({x, y}, label);
    return fits(y) && std::none_of(others.begin(), others.end(), [&place](const cv::Rect& other) {
             return !(place & other).empty();
           });
  };
  const auto* found = std::find_if(rows.begin(), rows.end(), is_free);
  if (found == rows.end()) {
    found = std::find_if(rows.begin(), rows.end(), fits);
  }
  const int y = found == rows.end() ? within(line.y, label.height, picture.height) : *found;
  return {{x, y}, label};
}

// All of a detection but its label.
void DrawShape(cv::Mat& bgr, const Detection& found, const Style& style) {
  const cv::Scalar colour = ColourOf(found.class_id);
  Tint(bgr, found.mask, colour);
  if (found.corners.empty()) {
    const cv::Rect line = LineOf(found, style, bgr.size());
    Frame(bgr, Grown(line, style.outline), style.line + 2 * style.outline, kBlack);
    Frame(bgr, line, style.line, colour);
  } else {
    Outline(bgr, found.corners, style, colour);
  }
  DrawKeypoints(bgr, found.keypoints, style, colour);
}

void DrawDetections(cv::Mat& bgr, std::span<const Detection> detections,
                    std::span<const std::string> class_names) {
  const Style style(bgr.size());
  std::vector<std::size_t> order(detections.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&detections](std::size_t a, std::size_t b) {
    return detections[a].confidence < detections[b].confidence;
  });
  for (const std::size_t i : order) {
    DrawShape(bgr, detections[i], style);
  }

  // Labels lie on all the lines; the most confident one has the first choice of a place.
  std::vector<cv::Rect> places(detections.size());
  std::vector<cv::Rect> taken;
  std::vector<Text> texts;
  std::reverse(order.begin(), order.end());
  for (const std::size_t i : order) {
    const Detection& found = detections[i];
    const Text& text =
        texts.emplace_back(fmt::format("{} {:.2f}", LabelOf(found, class_names), found.confidence),
                           style.capital, bgr.cols - 2 * style.margin);
    const cv::Size label(text.size().width + 2 * style.margin,
                         text.size().height + style.margin / 2);
    places[i] = PlaceLabel(label, LineOf(found, style, bgr.size()), bgr.size(), taken);
    taken.push_back(places[i]);
  }
  for (std::size_t rank = order.size(); rank-- > 0;) {
    const std::size_t i = order[rank];
    const cv::Scalar colour = ColourOf(detections[i].class_id);
    Fill(bgr, Grown(places[i], style.outline), kBlack);
    Fill(bgr, places[i], colour);
    texts[rank].PaintOn(bgr, places[i].tl() + cv::Point(style.margin, style.margin / 2),
                        TextColourOn(colour));
  }
}

// Darkens `place`, so that white text can be read on it.
void Shade(cv::Mat& bgr, const cv::Rect& place) {
  const cv::Rect visible = place & cv::Rect({0, 0}, bgr.size());
  if (!visible.empty()) {
    cv::Mat part = bgr(visible);
    part.convertTo(part, -1, 0.25);
  }
}

// A line of a table, with a bar as long as its share.
struct TableRow {
  std::string name;
  float share;
};

void DrawTable(cv::Mat& bgr, std::span<const TableRow> table) {
  if (table.empty()) {
    return;
  }
  Style style(bgr.size());
  const int rows = static_cast<int>(table.size());
  const auto row_height = [&style] { return 2 * style.capital + style.margin; };
  while (style.capital > 4 && rows * row_height() + 2 * style.margin > bgr.rows) {
    --style.capital;
    style.margin = std::max(1, style.capital / 3);
  }

  std::vector<Text> names;
  std::vector<Text> numbers;
  int widest_name = 0;
  int widest_number = 0;
  for (const TableRow& row : table) {
    const Text& number =
        numbers.emplace_back(fmt::format("{:.2f}", row.share), style.capital, bgr.cols / 2);
    widest_number = std::max(widest_number, number.size().width);
  }
  const int room = bgr.cols - widest_number - 6 * style.margin;
  for (const TableRow& row : table) {
    const Text& name = names.emplace_back(row.name, style.capital, room);
    widest_name = std::max(widest_name, name.size().width);
  }

  const int gap = style.margin;
  const int inner = widest_name + widest_number + 4 * gap;
  Shade(bgr, {0, 0, inner + 2 * gap, rows * row_height() + gap});
  for (int row = 0; row < rows; ++row) {
    const auto i = static_cast<std::size_t>(row);
    const cv::Rect bar(gap, gap + row * row_height(), inner, row_height() - gap);
    const double share = std::clamp(table[i].share, 0.0F, 1.0F);
    const cv::Scalar blue(178, 114, 0);
    Fill(bgr, {bar.x, bar.y, std::max(1, cvRound(bar.width * share)), bar.height}, blue);
    const int top = bar.y + (bar.height - names[i].size().height) / 2;
    names[i].PaintOn(bgr, {bar.x + gap, top}, kWhite);
    numbers[i].PaintOn(bgr, {bar.br().x - gap - numbers[i].size().width, top}, kWhite);
  }
}

void DrawClasses(cv::Mat& bgr, const Classification& classification,
                 std::span<const std::string> class_names) {
  std::vector<TableRow> table;
  for (const ClassScore& score : classification.scores) {
    table.push_back({NameOf(score.class_id, class_names), score.confidence});
  }
  DrawTable(bgr, table);
}

void DrawTexts(cv::Mat& bgr, std::span<const TextLine> lines) {
  std::vector<TableRow> table;
  for (const TextLine& line : lines) {
    if (std::string text = Drawable(line.text); !text.empty()) {
      table.push_back({std::move(text), line.confidence});
    }
  }
  DrawTable(bgr, table);
}

template <typename Work>
absl::Status WithoutExceptions(const Work& work) {
  try {
    work();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(
        fmt::format("cannot draw on the picture: {}", error.what()));
  }
}

}  // namespace

absl::Status Draw(cv::Mat& bgr, std::span<const Detection> detections,
                  std::span<const std::string> class_names) {
  return WithoutExceptions([&] { DrawDetections(bgr, detections, class_names); });
}

absl::Status Draw(cv::Mat& bgr, std::span<const TextLine> lines) {
  return WithoutExceptions([&] { DrawTexts(bgr, lines); });
}

absl::Status Draw(cv::Mat& bgr, const Classification& classification,
                  std::span<const std::string> class_names) {
  return WithoutExceptions([&] { DrawClasses(bgr, classification, class_names); });
}

}  // namespace inferpool::vision
