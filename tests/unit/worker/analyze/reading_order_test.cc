#include "worker/analyze/reading_order.h"

#include <gtest/gtest.h>

#include <cmath>

namespace inferpool::analyze {
namespace {

using Order = std::vector<std::size_t>;

// A line of text around (x, y) on a page that is turned clockwise around (0, 0).
LineCorners Line(float x, float y, float width, float height, double degrees = 0) {
  const auto cosine = static_cast<float>(std::cos(degrees * M_PI / 180));
  const auto sine = static_cast<float>(std::sin(degrees * M_PI / 180));
  const auto turned = [&](float at_x, float at_y) {
    return vision::Point{at_x * cosine - at_y * sine, at_x * sine + at_y * cosine};
  };
  return {turned(x - width / 2, y - height / 2), turned(x + width / 2, y - height / 2),
          turned(x + width / 2, y + height / 2), turned(x - width / 2, y + height / 2)};
}

TEST(ReadingOrderTest, RowsGoDownAndLinesOfARowToTheRightHoweverThePageIsTurned) {
  for (const double degrees : {0.0, 30.0, -30.0, 90.0, 180.0, -90.0, 135.0}) {
    const std::vector<LineCorners> lines = {
        Line(300, 104, 100, 20, degrees), Line(100, 200, 120, 20, degrees),
        Line(100, 98, 100, 20, degrees), Line(100, 20, 300, 40, degrees)};
    EXPECT_EQ(ReadingOrder(lines), (Order{3, 2, 0, 1})) << degrees;
  }
}

TEST(ReadingOrderTest, TheDirectionOfMostTextCounts) {
  // A short vertical line at the left of two long ones.
  const std::vector<LineCorners> lines = {Line(300, 80, 400, 20), Line(300, 40, 400, 20),
                                          Line(60, -20, 80, 20, 90)};
  EXPECT_EQ(ReadingOrder(lines), (Order{1, 2, 0}));
}

TEST(ReadingOrderTest, AHeadingBesideSmallLinesIsARowOfItsOwn) {
  const std::vector<LineCorners> lines = {Line(400, 80, 100, 20), Line(400, 50, 100, 20),
                                          Line(400, 20, 100, 20), Line(100, 48, 200, 80)};
  EXPECT_EQ(ReadingOrder(lines), (Order{2, 3, 1, 0}));
}

TEST(ReadingOrderTest, EqualLinesStayInTheirOrder) {
  EXPECT_EQ(ReadingOrder({}), Order{});
  const std::vector<LineCorners> same(3, Line(10, 10, 20, 5));
  EXPECT_EQ(ReadingOrder(same), (Order{0, 1, 2}));
  const std::vector<LineCorners> points(2, Line(10, 10, 0, 0));
  EXPECT_EQ(ReadingOrder(points), (Order{0, 1}));
}

}  // namespace
}  // namespace inferpool::analyze
