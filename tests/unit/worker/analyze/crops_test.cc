#include "worker/analyze/crops.h"

#include <gtest/gtest.h>

#include <opencv2/core.hpp>

namespace inferpool::analyze {
namespace {

using vision::Detection;
using vision::Point;

constexpr float kNear = 0.01F;

// A picture of which every pixel tells where it is.
cv::Mat Numbered(int width, int height) {
  cv::Mat picture(height, width, CV_8UC3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      picture.at<cv::Vec3b>(y, x) = {static_cast<uchar>(x), static_cast<uchar>(y), 7};
    }
  }
  return picture;
}

Detection Box(float x1, float y1, float x2, float y2) {
  Detection found;
  found.x1 = x1;
  found.y1 = y1;
  found.x2 = x2;
  found.y2 = y2;
  return found;
}

Detection TurnedBox(const std::vector<Point>& corners) {
  Detection found;
  found.corners = corners;
  return found;
}

bool AreEqual(const cv::Mat& one, const cv::Mat& other) {
  return one.size() == other.size() && cv::norm(one, other, cv::NORM_INF) == 0;
}

TEST(CropsTest, AnUprightBoxIsAPartOfThePictureRoundedOutwards) {
  const cv::Mat picture = Numbered(100, 80);
  const Crop crop = CropOf(Box(10.4F, 20, 30.2F, 40.9F), picture.size());
  EXPECT_TRUE(crop.is_view);
  EXPECT_EQ(crop.size, cv::Size(21, 21));
  const cv::Mat pixels = Pixels(picture, crop);
  EXPECT_TRUE(AreEqual(pixels, picture(cv::Rect(10, 20, 21, 21))));
  EXPECT_EQ(pixels.datastart, picture.datastart) << "nothing was copied";
}

TEST(CropsTest, ABoxWithoutAnAreaOrAtTheEdgeIsAtLeastOnePixel) {
  const cv::Mat picture = Numbered(100, 80);
  for (const Detection& found : {Box(100, 80, 100, 80), Box(0, 0, 0, 0), Box(50, 50, 50, 50)}) {
    const Crop crop = CropOf(found, picture.size());
    EXPECT_EQ(crop.size, cv::Size(1, 1));
    EXPECT_EQ(Pixels(picture, crop).size(), cv::Size(1, 1));
  }
}

TEST(CropsTest, ABoxTurnedByQuartersIsCutOutExactly) {
  const cv::Mat picture = Numbered(100, 80);
  const cv::Mat upright = picture(cv::Rect(20, 30, 40, 10));
  const std::vector<Point> corners = {{20, 30}, {60, 30}, {60, 40}, {20, 40}};
  const Crop crop = CropOf(TurnedBox(corners), picture.size());
  EXPECT_FALSE(crop.is_view);
  EXPECT_TRUE(AreEqual(Pixels(picture, crop), upright));
  for (const int quarters : {1, 2, 3}) {
    const Crop back = TurnedBack(crop, quarters);
    cv::Mat expected;
    // Turned clockwise as seen, so counterclockwise back.
    cv::rotate(upright, expected,
               quarters == 1   ? cv::ROTATE_90_COUNTERCLOCKWISE
               : quarters == 2 ? cv::ROTATE_180
                               : cv::ROTATE_90_CLOCKWISE);
    EXPECT_TRUE(AreEqual(Pixels(picture, back), expected)) << quarters;
    const Crop view = TurnedBack(CropOf(Box(20, 30, 60, 40), picture.size()), quarters);
    EXPECT_TRUE(AreEqual(Pixels(picture, view), expected)) << quarters;
  }
}

TEST(CropsTest, ATurnedBoxIsCutOutUpright) {
  // A square of 40 x 20 turned by 45 degrees, in a picture that is dark left of a diagonal.
  const float step = 10 * std::sqrt(2.0F);
  const std::vector<Point> corners = {
      {50, 50}, {50 + 2 * step, 50 + 2 * step}, {50 + step, 50 + 3 * step}, {50 - step, 50 + step}};
  cv::Mat picture(200, 200, CV_8UC3, cv::Scalar::all(0));
  for (int y = 0; y < 200; ++y) {
    for (int x = 0; x < 200; ++x) {
      // The left half along the box: how far along it the pixel is.
      const float along =
          (static_cast<float>(x - 50) + static_cast<float>(y - 50)) / std::sqrt(2.0F);
      picture.at<cv::Vec3b>(y, x) = cv::Vec3b::all(static_cast<uchar>(along > 20 ? 255 : 0));
    }
  }
  const Crop crop = CropOf(TurnedBox(corners), picture.size());
  EXPECT_EQ(crop.size, cv::Size(40, 20));
  const cv::Mat pixels = Pixels(picture, crop);
  EXPECT_LT(cv::mean(pixels.colRange(0, 18))[0], 1);
  EXPECT_GT(cv::mean(pixels.colRange(22, 40))[0], 254);
}

TEST(CropsTest, WhatIsFoundInACropIsPutBackIntoThePicture) {
  const cv::Size picture(200, 200);
  Detection found = Box(5, 2, 15, 8);
  found.keypoints = {{10, 5, 0.5F}};
  found.mask = {{{5, 2}, {15, 8}}};
  const Detection in_view = ToPicture(found, CropOf(Box(100, 50, 140, 70), picture), picture);
  EXPECT_EQ(in_view.x1, 105);
  EXPECT_EQ(in_view.y2, 58);
  EXPECT_TRUE(in_view.corners.empty()) << "an upright box stays one";
  EXPECT_EQ(in_view.keypoints[0].x, 110);

  // Turned clockwise by a quarter: right in the crop is down in the picture.
  const Crop turned = CropOf(TurnedBox({{120, 50}, {120, 90}, {100, 90}, {100, 50}}), picture);
  EXPECT_EQ(turned.size, cv::Size(40, 20));
  const Detection back = ToPicture(found, turned, picture);
  EXPECT_NEAR(back.x1, 112, kNear);
  EXPECT_NEAR(back.y1, 55, kNear);
  EXPECT_NEAR(back.x2, 118, kNear);
  EXPECT_NEAR(back.y2, 65, kNear);
  ASSERT_EQ(back.corners.size(), 4U);
  EXPECT_NEAR(back.corners[0].x, 118, kNear);
  EXPECT_NEAR(back.corners[0].y, 55, kNear);
  EXPECT_NEAR(back.keypoints[0].x, 115, kNear);
  EXPECT_NEAR(back.keypoints[0].y, 60, kNear);
  EXPECT_NEAR(back.mask[0][1].y, 65, kNear);
}

TEST(CropsTest, WhatReachesBeyondThePictureIsFilledAndClipped) {
  const cv::Mat picture = Numbered(50, 50);
  const Crop crop = CropOf(TurnedBox({{-20, -10}, {70, -10}, {70, 20}, {-20, 20}}), picture.size());
  const cv::Mat pixels = Pixels(picture, crop);
  EXPECT_EQ(pixels.size(), cv::Size(90, 30));
  EXPECT_EQ(pixels.at<cv::Vec3b>(0, 0), picture.at<cv::Vec3b>(0, 0));
  EXPECT_EQ(pixels.at<cv::Vec3b>(29, 89), picture.at<cv::Vec3b>(19, 49));
  const Detection back = ToPicture(Box(0, 0, 90, 30), crop, picture.size());
  EXPECT_EQ(back.x1, 0);
  EXPECT_EQ(back.x2, 50);
  EXPECT_NEAR(back.corners[0].x, -20, kNear);
  const Crop outside = CropOf(TurnedBox({{60, 60}, {70, 60}, {70, 65}, {60, 65}}), picture.size());
  EXPECT_EQ(Pixels(picture, outside).size(), cv::Size(10, 5));
}

TEST(CropsTest, ALargeTurnedCropIsCutOutSmaller) {
  const cv::Mat wide(3, 60'000, CV_8UC3, cv::Scalar::all(9));
  const Crop long_one = CropOf(TurnedBox({{0, 0}, {60'000, 0}, {60'000, 3}, {0, 3}}), wide.size());
  EXPECT_LE(long_one.size.area(), kMaxCropPixels);
  EXPECT_EQ(Pixels(wide, long_one).at<cv::Vec3b>(1, 1), cv::Vec3b::all(9));
  const Crop large =
      CropOf(TurnedBox({{0, 0}, {8'000, 0}, {8'000, 8'000}, {0, 8'000}}), cv::Size(8'000, 8'000));
  EXPECT_EQ(large.size, cv::Size(2'000, 2'000));
  const Detection back = ToPicture(Box(0, 0, 500, 500), large, {8'000, 8'000});
  EXPECT_NEAR(back.x2, 2'000, 0.1);
}

}  // namespace
}  // namespace inferpool::analyze
