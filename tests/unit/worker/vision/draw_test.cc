#include "worker/vision/draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace inferpool::vision {
namespace {

const cv::Vec3b kGrey(128, 128, 128);
const cv::Vec3b kOrange(0, 159, 230);    // class 0
const cv::Vec3b kSkyBlue(233, 180, 86);  // class 1
const std::vector<std::string> kNames{"cat", "dog"};

cv::Mat Picture(cv::Size size) {
  return cv::Mat(size, CV_8UC3, cv::Scalar(kGrey));
}

int Count(const cv::Mat& picture, const cv::Vec3b& colour) {
  cv::Mat same;
  cv::inRange(picture, colour, colour, same);
  return cv::countNonZero(same);
}

cv::Mat Drawn(cv::Size size, const std::vector<Detection>& detections,
              const std::vector<std::string>& names = kNames) {
  cv::Mat picture = Picture(size);
  EXPECT_TRUE(Draw(picture, detections, names).ok());
  EXPECT_EQ(picture.size(), size);
  return picture;
}

TEST(DrawTest, TheFrameLiesOnTheBoxesEdgeAndItsInsideStaysClear) {
  const cv::Mat picture = Drawn({640, 480}, {{100, 200, 300, 400, 0.9F, 0}});
  for (const cv::Point at : {cv::Point(100, 300), cv::Point(300, 300), cv::Point(250, 400)}) {
    const cv::Rect around(at.x - 3, at.y - 3, 7, 7);
    EXPECT_GT(Count(picture(around), kOrange), 7) << at;
    EXPECT_GT(Count(picture(around), {0, 0, 0}), 7) << at;
  }
  EXPECT_EQ(Count(picture(cv::Rect(106, 206, 188, 188)), kGrey), 188 * 188);
  EXPECT_EQ(Count(picture(cv::Rect(310, 0, 330, 480)), kGrey), 330 * 480);
}

TEST(DrawTest, ATurnedBoxIsDrawnTurned) {
  Detection found{100, 100, 300, 300, 0.9F, 0};
  found.corners = {{200, 100}, {300, 200}, {200, 300}, {100, 200}};
  const cv::Mat picture = Drawn({640, 480}, {found});
  for (const cv::Point at : {cv::Point(250, 150), cv::Point(250, 250), cv::Point(150, 250)}) {
    EXPECT_GT(Count(picture(cv::Rect(at.x - 3, at.y - 3, 7, 7)), kOrange), 5) << at;
  }
  EXPECT_EQ(Count(picture(cv::Rect(290, 290, 20, 20)), kGrey), 20 * 20) << "no upright box";
  EXPECT_EQ(Count(picture(cv::Rect(180, 180, 40, 40)), kGrey), 40 * 40);
}

TEST(DrawTest, AMaskTintsWhatItCovers) {
  Detection found{100, 100, 300, 300, 0.9F, 0};
  found.mask = {{{120, 120}, {200, 120}, {200, 280}, {120, 280}}};
  const cv::Mat picture = Drawn({640, 480}, {found});
  EXPECT_EQ(Count(picture(cv::Rect(130, 130, 60, 140)), kGrey), 0);
  EXPECT_EQ(Count(picture(cv::Rect(210, 130, 80, 140)), kGrey), 80 * 140);
}

TEST(DrawTest, KeypointsThatAreSeenAreDots) {
  Detection found{100, 100, 300, 300, 0.9F, 0};
  found.keypoints = {{150, 150, 0.9F}, {250, 250, 0.1F}};
  const cv::Mat picture = Drawn({640, 480}, {found});
  EXPECT_GT(Count(picture(cv::Rect(147, 147, 7, 7)), kOrange), 5);
  EXPECT_EQ(Count(picture(cv::Rect(240, 240, 20, 20)), kGrey), 20 * 20);
}

TEST(DrawTest, WhatIsWrittenThereIsTheLabel) {
  Detection found{50, 100, 350, 250, 0.5F, 0};
  const cv::Mat with_class = Drawn({400, 300}, {found});
  found.text = "cat";  // the class's name
  EXPECT_EQ(cv::norm(Drawn({400, 300}, {found}), with_class, cv::NORM_INF), 0);
  found.text = "other";
  EXPECT_GT(cv::norm(Drawn({400, 300}, {found}), with_class, cv::NORM_INF), 0);
}

TEST(DrawTest, WhatReachesFarBeyondThePictureIsDrawnAllTheSame) {
  Detection found{0, 0, 40, 30, 0.9F, 0};
  found.corners = {{-1e9F, -1e9F}, {1e9F, -1e9F}, {1e9F, 1e9F}, {-1e9F, 1e9F}};
  found.mask = {{{0, 0}, {40, 0}, {40, 30}}};
  found.keypoints = {{0, 0, 1}, {40, 30, 1}};
  Drawn({40, 30}, {found});
  Drawn({1, 1}, {found});
}

TEST(DrawTest, NothingFoundIsNothingDrawn) {
  EXPECT_EQ(Count(Drawn({64, 48}, {}), kGrey), 64 * 48);
}

TEST(DrawTest, ABoxAsLargeAsThePictureIsSeenOnAllSides) {
  for (const cv::Size size : {cv::Size(200, 200), cv::Size(1920, 1080)}) {
    const auto width = static_cast<float>(size.width);
    const auto height = static_cast<float>(size.height);
    const cv::Mat picture = Drawn(size, {{0, 0, width, height, 0.9F, 0}});
    const int edge = size.width / 50;
    EXPECT_GT(Count(picture.colRange(0, edge), kOrange), size.height);
    EXPECT_GT(Count(picture.colRange(size.width - edge, size.width), kOrange), size.height);
    EXPECT_GT(Count(picture.rowRange(0, edge), kOrange), size.width);
    EXPECT_GT(Count(picture.rowRange(size.height - edge, size.height), kOrange), size.width);
  }
}

// A label that were cut off would have less of its colour.
TEST(DrawTest, LabelsAreWholeWhereverTheBoxIs) {
  const auto coloured = [](float x, float y) {
    return Count(Drawn({400, 300}, {{x, y, x + 20, y + 20, 0.87F, 0}}), kOrange);
  };
  const int in_the_middle = coloured(150, 150);
  for (const cv::Point2f at : {cv::Point2f(2, 2), cv::Point2f(378, 2), cv::Point2f(2, 278),
                               cv::Point2f(378, 278), cv::Point2f(150, 2), cv::Point2f(378, 150)}) {
    // A label that lies on its box hides some of the frame.
    EXPECT_NEAR(coloured(at.x, at.y), in_the_middle, 160) << at;
  }
}

TEST(DrawTest, TheMostConfidentLiesOnTop) {
  const Detection weak{50, 50, 150, 150, 0.3F, 1};
  const Detection strong{50, 50, 150, 150, 0.9F, 0};
  for (const std::vector<Detection>& order :
       {std::vector{weak, strong}, std::vector{strong, weak}}) {
    const cv::Mat picture = Drawn({200, 200}, order);
    const cv::Mat lower_edge = picture(cv::Rect(60, 145, 80, 10));
    EXPECT_GT(Count(lower_edge, kOrange), 80);
    EXPECT_EQ(Count(lower_edge, kSkyBlue), 0);
    EXPECT_GT(Count(picture, kSkyBlue), 100) << "the other's label has no place of its own";
  }
}

double Luminance(const cv::Vec3b& bgr) {
  const auto linear = [](double value) {
    return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
  };
  return 0.0722 * linear(bgr[0] / 255.0) + 0.7152 * linear(bgr[1] / 255.0) +
         0.2126 * linear(bgr[2] / 255.0);
}

// WCAG 2.1 asks for 4.5 to 1.
TEST(DrawTest, EveryLabelCanBeReadAndEveryClassHasItsColour) {
  std::vector<cv::Vec3b> seen;
  for (int class_id = 0; class_id < 7; ++class_id) {
    const cv::Mat picture = Drawn({400, 300}, {{50, 100, 350, 250, 0.5F, class_id}});
    const cv::Vec3b colour = picture.at<cv::Vec3b>(99, 200);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), colour), 0);
    seen.push_back(colour);
    // Above the box there is its label alone: the fill, the text and blends of both.
    const cv::Mat label = picture(cv::Rect(54, 85, 40, 10));
    ASSERT_GT(Count(label, colour), 100);
    const bool white = Count(label, {255, 255, 255}) > 0;
    EXPECT_TRUE(white || Count(label, {0, 0, 0}) > 0);
    const double lighter = white ? 1.05 : Luminance(colour) + 0.05;
    const double darker = white ? Luminance(colour) + 0.05 : 0.05;
    EXPECT_GE(lighter / darker, 4.5) << class_id;
  }
}

TEST(DrawTest, LinesAndLettersGrowWithThePicture) {
  int line_before = 0;
  int label_before = 0;
  for (const int side : {200, 1000, 4000, 8000}) {
    const auto at = static_cast<float>(side);
    const cv::Mat picture =
        Drawn({side, side}, {{at * 0.2F, at * 0.3F, at * 0.8F, at * 0.8F, 0.5F, 0}});
    const int line = Count(picture.row(side / 2).colRange(0, side / 2), kOrange);
    const int label = Count(picture.col(side / 5).rowRange(0, side / 3), kOrange);
    EXPECT_GE(line, std::max(2, side / 500));
    EXPECT_GE(label, std::max(10, side / 60));
    EXPECT_GT(line, line_before);
    EXPECT_GT(label, label_before);
    line_before = line - 1;
    label_before = label;
  }
}

TEST(DrawTest, NoSizeIsTooSmallOrTooThin) {
  for (const cv::Size size : {cv::Size(1, 1), cv::Size(2, 3), cv::Size(9, 9), cv::Size(30'000, 1),
                              cv::Size(1, 30'000), cv::Size(60, 12)}) {
    const auto width = static_cast<float>(size.width);
    const auto height = static_cast<float>(size.height);
    const std::vector<Detection> many(20, {width * 0.2F, 0, width, height * 0.7F, 0.5F, 3});
    Drawn(size, many, {"a", "b", "c", "a rather long name for a class"});
    cv::Mat picture = Picture(size);
    EXPECT_TRUE(Draw(picture, Classification{{{0, 0.6F}, {1, 0.3F}, {9, 0.1F}}}, kNames).ok());
  }
}

TEST(DrawTest, AClassWithoutANameHasItsNumber) {
  const std::vector<Detection> found{{50, 100, 350, 250, 0.5F, 12}};
  std::vector<std::string> names(13, "x");
  names[12] = "class 12";
  const cv::Mat expected = Drawn({400, 300}, found, names);
  names[12] = "\u732b";
  EXPECT_EQ(cv::norm(Drawn({400, 300}, found, names), expected, cv::NORM_INF), 0);
  EXPECT_EQ(cv::norm(Drawn({400, 300}, found, {}), expected, cv::NORM_INF), 0);
  names[12] = "other";
  EXPECT_GT(cv::norm(Drawn({400, 300}, found, names), expected, cv::NORM_INF), 0);
}

TEST(DrawTest, ClassesAreWrittenInTheCornerWithBarsAsLongAsTheyAreProbable) {
  cv::Mat picture = Picture({640, 480});
  ASSERT_TRUE(Draw(picture, Classification{{{0, 0.8F}, {1, 0.2F}}}, kNames).ok());
  EXPECT_EQ(Count(picture.colRange(320, 640), kGrey), 320 * 480);
  EXPECT_EQ(Count(picture.rowRange(100, 480), kGrey), 640 * 380);
  const cv::Vec3b blue(178, 114, 0);
  int longest = 0;
  int shortest = 640;
  for (int row = 0; row < 100; ++row) {
    const int length = Count(picture.row(row), blue);
    longest = std::max(longest, length);
    if (length > 0) shortest = std::min(shortest, length);
  }
  EXPECT_GT(longest, 40);
  EXPECT_GT(longest, 3 * shortest);
  EXPECT_GT(Count(picture, {255, 255, 255}), 50);
}

TEST(DrawTest, ATextIsWrittenInTheCornerWithABar) {
  cv::Mat picture = Picture({640, 480});
  const TextLines lines{{"EXIT", 0.8F}};
  ASSERT_TRUE(Draw(picture, lines).ok());
  EXPECT_EQ(Count(picture.rowRange(100, 480), kGrey), 640 * 380);
  EXPECT_GT(Count(picture, {178, 114, 0}), 200);
  EXPECT_GT(Count(picture, {255, 255, 255}), 50);
  cv::Mat blank = Picture({640, 480});
  EXPECT_TRUE(Draw(blank, TextLines{{"", 0}}).ok());
  EXPECT_EQ(Count(blank, kGrey), 640 * 480);
}

TEST(DrawTest, NoClassesAreNothingDrawn) {
  cv::Mat picture = Picture({64, 48});
  ASSERT_TRUE(Draw(picture, Classification{}, kNames).ok());
  EXPECT_EQ(Count(picture, kGrey), 64 * 48);
}

}  // namespace
}  // namespace inferpool::vision
