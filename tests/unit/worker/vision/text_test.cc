#include "worker/vision/text.h"

#include <gtest/gtest.h>

#include <opencv2/core.hpp>
#include <string>

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

TEST(TextTest, LatinLettersLoseTheirAccents) {
  EXPECT_EQ(Drawable("traffic light"), "traffic light");
  EXPECT_EQ(Drawable("Schl\u00fcssel"), "Schlussel");
  EXPECT_EQ(Drawable("\u00c5ngstr\u00f6m \u00e7a na\u00efve \u00ff"), "Angstrom ca naive y");
  EXPECT_EQ(Drawable("\u0141\u00f3d\u017a \u010ce\u0161ka \u011e\u0131\u015f \u0100 \u017f"),
            "Lodz Ceska Gis A s");
}

TEST(TextTest, WhatCannotBeDrawnIsOneQuestionMark) {
  EXPECT_EQ(Drawable("cat \u732b\u732b!"), "cat ?!");
  EXPECT_EQ(Drawable("a\nb\0c"s), "a?b?c");
  EXPECT_EQ(Drawable("bad \xff\xfe bytes, \xe7\x8c"), "bad ? bytes, ?");
  EXPECT_EQ(Drawable("\xc3"), "");
  EXPECT_EQ(Drawable("\u732b"), "");
  EXPECT_EQ(Drawable("\u732b \U0001f431"), "");
  EXPECT_EQ(Drawable(""), "");
}

TEST(TextTest, LongNamesEndInDots) {
  EXPECT_EQ(Drawable(std::string(40, 'x')), std::string(40, 'x'));
  EXPECT_EQ(Drawable(std::string(41, 'x')), std::string(37, 'x') + "...");
  EXPECT_EQ(Drawable(std::string(100'000, 'x')).size(), 40);
}

// The rows and columns that any of the text covers.
cv::Rect Covered(const cv::Mat& bgr) {
  cv::Mat grey;
  cv::extractChannel(bgr, grey, 0);
  cv::Mat points;
  cv::findNonZero(grey > 60, points);
  int left = bgr.cols, top = bgr.rows, right = 0, bottom = 0;
  for (const cv::Point& point : cv::Mat_<cv::Point>(points)) {
    left = std::min(left, point.x);
    right = std::max(right, point.x);
    top = std::min(top, point.y);
    bottom = std::max(bottom, point.y);
  }
  return {cv::Point(left, top), cv::Point(right + 1, bottom + 1)};
}

TEST(TextTest, LettersAreAsHighAsAskedFor) {
  for (const int capital : {8, 11, 29, 40, 133}) {
    const Text text("HELIX", capital, 10'000);
    cv::Mat picture = cv::Mat::zeros(text.size(), CV_8UC3);
    text.PaintOn(picture, {0, 0}, cv::Scalar::all(255));
    EXPECT_NEAR(Covered(picture).height, capital, 1 + capital * 0.2) << capital;
    EXPECT_GT(cv::countNonZero(picture.reshape(1) > 200), 0) << capital;
  }
}

TEST(TextTest, DescendersAreInside) {
  const Text text("gjpqy|", 20, 10'000);
  cv::Mat picture = cv::Mat::zeros(text.size(), CV_8UC3);
  text.PaintOn(picture, {0, 0}, cv::Scalar::all(255));
  const cv::Rect covered = Covered(picture);
  EXPECT_GT(covered.height, 24);
  EXPECT_LT(covered.br().y, picture.rows);
  EXPECT_GE(covered.y, 1);
}

TEST(TextTest, IsNeverWiderThanAllowed) {
  EXPECT_EQ(Text("a long name", 20, 31).size().width, 31);
  EXPECT_EQ(Text("a long name", 20, -5).size().width, 1);
  EXPECT_GT(Text("a long name", 20, 1000).size().width, 100);
  EXPECT_GE(Text("", 8, 100).size().width, 1);
}

TEST(TextTest, WhatLiesOutsideOfThePictureIsCutOff) {
  const Text text("wide", 20, 10'000);
  for (const cv::Point at : {cv::Point(-20, -5), cv::Point(25, 15), cv::Point(400, 400)}) {
    cv::Mat picture = cv::Mat::zeros(30, 40, CV_8UC3);
    text.PaintOn(picture, at, cv::Scalar::all(255));
    EXPECT_EQ(cv::countNonZero(picture.reshape(1)) > 0, at.x < 40);
  }
}

}  // namespace
}  // namespace inferpool::vision
