#include "worker/vision/text_boxes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

cv::Mat EmptyMap() {
  return cv::Mat::zeros(240, 320, CV_32FC1);
}

// The corners of a line of text of that size, clockwise from its top left, turned clockwise.
std::array<cv::Point2f, 4> Turned(cv::Point2f centre, cv::Size2f size, double degrees) {
  const double radians = degrees * CV_PI / 180;
  const cv::Point2f right(static_cast<float>(std::cos(radians)),
                          static_cast<float>(std::sin(radians)));
  const cv::Point2f along = right * (size.width / 2);
  const cv::Point2f down = cv::Point2f(-right.y, right.x) * (size.height / 2);
  return {centre - along - down, centre + along - down, centre + along + down,
          centre - along + down};
}

void Fill(cv::Mat& map, const std::array<cv::Point2f, 4>& corners, double probability) {
  std::array<cv::Point, 4> pixels;
  for (std::size_t i = 0; i < 4; ++i) {
    pixels[i] = {cvRound(corners[i].x * 16), cvRound(corners[i].y * 16)};
  }
  cv::fillConvexPoly(map, pixels, probability, cv::LINE_8, 4);
}

void ExpectCorners(const TextBox& box, const std::array<cv::Point2f, 4>& expected,
                   float tolerance) {
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(box.corners[i].x, expected[i].x, tolerance) << i;
    EXPECT_NEAR(box.corners[i].y, expected[i].y, tolerance) << i;
  }
}

TEST(TextBoxesTest, ARegionGrowsByItsAreaOverItsPerimeter) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 30, 41, 11)) = 0.8F;
  const auto boxes = FindTextBoxes(map, {});
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_NEAR(boxes[0].confidence, 0.8F, 1e-6);
  // Between the centres of its outermost pixels the region is 40 x 10, so it grows by
  // 400 * 1.5 / 100 = 6. Those centres are 20.5 to 60.5 and 30.5 to 40.5.
  ExpectCorners(boxes[0], {{{14.5F, 24.5F}, {66.5F, 24.5F}, {66.5F, 46.5F}, {14.5F, 46.5F}}},
                1e-3F);
  const auto less = FindTextBoxes(map, {.unclip = 0.5F});
  ExpectCorners(less[0], {{{18.5F, 28.5F}, {62.5F, 28.5F}, {62.5F, 42.5F}, {18.5F, 42.5F}}}, 1e-3F);
}

// make_text_map.py worked these out from the definition.
TEST(TextBoxesTest, AgreesWithNumpyOnAMap) {
  const std::string png = ReadData("text_map.png");
  cv::Mat map;
  cv::imdecode(std::vector<char>(png.begin(), png.end()), cv::IMREAD_GRAYSCALE)
      .convertTo(map, CV_32F, 1 / 255.0);
  auto boxes = FindTextBoxes(map, {});
  const Json::Value expected = ReadJson("text_boxes.json");
  ASSERT_EQ(boxes.size(), expected.size());
  std::ranges::sort(boxes, {}, [](const TextBox& box) { return box.corners[0].x; });
  for (Json::ArrayIndex i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_NEAR(boxes[i].confidence, expected[i]["confidence"].asFloat(), 0.02);
    std::array<cv::Point2f, 4> corners;
    for (Json::ArrayIndex corner = 0; corner < 4; ++corner) {
      const Json::Value& point = expected[i]["corners"][corner];
      corners[corner] = {point[0].asFloat(), point[1].asFloat()};
    }
    ExpectCorners(boxes[i], corners, 0.01F);
  }
}

TEST(TextBoxesTest, TheFirstCornerIsTheTopLeftOfATurnedText) {
  const cv::Size2f size(120, 20);
  for (int degrees = -85; degrees <= 85; degrees += 5) {
    SCOPED_TRACE(degrees);
    cv::Mat map = EmptyMap();
    Fill(map, Turned({160, 120}, size, degrees), 0.9);
    const auto boxes = FindTextBoxes(map, {.unclip = 0});
    ASSERT_EQ(boxes.size(), 1U);
    ExpectCorners(boxes[0], Turned({160.5F, 120.5F}, size, degrees), 2);
  }
}

TEST(TextBoxesTest, AVerticalTextRunsDownwards) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(100, 50, 21, 101)) = 1;
  const auto boxes = FindTextBoxes(map, {.unclip = 0});
  ASSERT_EQ(boxes.size(), 1U);
  ExpectCorners(boxes[0], {{{120.5F, 50.5F}, {120.5F, 150.5F}, {100.5F, 150.5F}, {100.5F, 50.5F}}},
                1e-3F);
}

TEST(TextBoxesTest, ANearlySquareBoxStaysUpright) {
  for (const cv::Size2f size : {cv::Size2f(50, 40), cv::Size2f(40, 50), cv::Size2f(44, 44)}) {
    for (const int degrees : {-40, -20, 0, 20, 40}) {
      SCOPED_TRACE(degrees);
      cv::Mat map = EmptyMap();
      Fill(map, Turned({160, 120}, size, degrees), 0.9);
      const auto boxes = FindTextBoxes(map, {.unclip = 0});
      ASSERT_EQ(boxes.size(), 1U);
      ExpectCorners(boxes[0], Turned({160.5F, 120.5F}, size, degrees), 2);
    }
  }
}

TEST(TextBoxesTest, OnlyLikelyPixelsAndLikelyBoxesCount) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 60, 20)) = 0.3F;   // not above 0.3
  map(cv::Rect(20, 80, 60, 20)) = 0.59F;  // text, but not likely enough
  map(cv::Rect(20, 140, 60, 20)) = 0.61F;
  const auto boxes = FindTextBoxes(map, {});
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_NEAR(boxes[0].confidence, 0.61F, 1e-6);
  EXPECT_EQ(FindTextBoxes(map, {.pixel = 0.2F, .box = 0.2F}).size(), 3U);
}

TEST(TextBoxesTest, TheConfidenceIsTheMeanWithinTheBox) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 100, 40)) = 0.9F;
  map(cv::Rect(20, 20, 50, 40)) = 0.7F;
  const auto boxes = FindTextBoxes(map, {});
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_NEAR(boxes[0].confidence, 0.8F, 1e-5);
}

TEST(TextBoxesTest, SmallRegionsAreDropped) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 100, 3)) = 1;  // 2 between the centres
  map(cv::Rect(20, 60, 1, 1)) = 1;
  map(cv::Rect(40, 60, 100, 1)) = 1;
  EXPECT_TRUE(FindTextBoxes(map, {}).empty());
  map(cv::Rect(20, 100, 100, 4)) = 1;  // 3, and grown
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1U);
  EXPECT_TRUE(FindTextBoxes(map, {.unclip = 0}).empty());
}

TEST(TextBoxesTest, AHoleIsNoBoxButWhatIsInItIs) {
  cv::Mat map = EmptyMap();
  map(cv::Rect(20, 20, 200, 150)) = 1;
  map(cv::Rect(60, 60, 100, 60)) = 0;
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1U);
  map(cv::Rect(80, 80, 40, 20)) = 1;
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 2U);
}

TEST(TextBoxesTest, RegionsAtTheEdgeAndTheWholeMapAreBoxes) {
  cv::Mat map(240, 320, CV_32FC1, cv::Scalar(0.95));
  auto boxes = FindTextBoxes(map, {.unclip = 0});
  ASSERT_EQ(boxes.size(), 1U);
  ExpectCorners(boxes[0], {{{0.5F, 0.5F}, {319.5F, 0.5F}, {319.5F, 239.5F}, {0.5F, 239.5F}}},
                1e-3F);
  map = EmptyMap();
  map(cv::Rect(300, 0, 20, 10)) = 1;
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1U);
  EXPECT_TRUE(FindTextBoxes(EmptyMap(), {}).empty());
}

TEST(TextBoxesTest, ThereAreAtMostAThousand) {
  cv::Mat map = cv::Mat::zeros(640, 640, CV_32FC1);
  for (int y = 0; y + 6 < 640; y += 12) {
    for (int x = 0; x + 10 < 640; x += 14) {
      map(cv::Rect(x, y, 10, 6)) = 1;
    }
  }
  EXPECT_EQ(FindTextBoxes(map, {}).size(), 1000U);
}

}  // namespace
}  // namespace inferpool::vision
