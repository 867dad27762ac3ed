#include "shared/pictures/letterbox_geometry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <opencv2/core.hpp>
#include <random>

namespace inferpool::vision {
namespace {

TEST(LetterboxGeometryTest, CentresThePictureAndKeepsItsShape) {
  EXPECT_EQ(LetterboxContent({1920, 1080}, {640, 640}), cv::Rect(0, 140, 640, 360));
  EXPECT_EQ(LetterboxContent({1080, 1920}, {640, 640}), cv::Rect(140, 0, 360, 640));
  EXPECT_EQ(LetterboxContent({640, 640}, {640, 640}), cv::Rect(0, 0, 640, 640));
  EXPECT_EQ(LetterboxContent({64, 32}, {640, 640}), cv::Rect(0, 160, 640, 320)) << "enlarged";
  EXPECT_EQ(LetterboxContent({5000, 2}, {640, 640}), cv::Rect(0, 319, 640, 1)) << "one row is left";
}

TEST(LetterboxGeometryTest, AnOddBorderIsWiderBelowAndToTheRight) {
  EXPECT_EQ(LetterboxContent({640, 639}, {640, 640}), cv::Rect(0, 0, 640, 639));
  EXPECT_EQ(LetterboxContent({639, 640}, {640, 640}), cv::Rect(0, 0, 639, 640));
  EXPECT_EQ(LetterboxContent({640, 637}, {640, 640}), cv::Rect(0, 1, 640, 637));
}

TEST(LetterboxGeometryTest, RoundsHalfToEven) {
  EXPECT_EQ(RoundHalfToEven(0.5), 0);
  EXPECT_EQ(RoundHalfToEven(1.5), 2);
  EXPECT_EQ(RoundHalfToEven(2.5), 2);
  EXPECT_EQ(RoundHalfToEven(-0.1), 0);
  EXPECT_EQ(LetterboxContent({64, 5}, {32, 32}).height, 2) << "2.5 rows";
  EXPECT_EQ(LetterboxContent({64, 7}, {32, 32}).height, 4) << "3.5 rows";
}

TEST(LetterboxGeometryTest, ThePictureLiesInTheInputAndReachesTwoOfItsSides) {
  std::mt19937 random(3);
  const auto side = [&random](unsigned max) { return 1 + static_cast<int>(random() % max); };
  for (int i = 0; i < 20'000; ++i) {
    const cv::Size picture(side(5000), side(i % 3 == 0 ? 5 : 5000));
    const cv::Size input(side(1280), side(i % 5 == 0 ? 9 : 1280));
    const cv::Rect content = LetterboxContent(picture, input);
    ASSERT_EQ(content & cv::Rect({0, 0}, input), content) << picture << input;
    ASSERT_TRUE(content.width == input.width || content.height == input.height) << picture << input;
    ASSERT_LE(std::abs(input.width - content.width - 2 * content.x), 2) << picture << input;
    ASSERT_LE(std::abs(input.height - content.height - 2 * content.y), 2) << picture << input;
  }
}

}  // namespace
}  // namespace inferpool::vision
