#include "worker/vision/families/placement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

cv::Size SizeOf(const Json::Value& json) {
  return {json[0].asInt(), json[1].asInt()};
}

cv::Rect RectOf(const Json::Value& json) {
  return {json[0].asInt(), json[1].asInt(), json[2].asInt(), json[3].asInt()};
}

void ExpectBox(const Detection& box, const Json::Value& expected, cv::Size picture) {
  const double tolerance = 1e-6 * (picture.width + picture.height);
  EXPECT_NEAR(box.x1, expected[0].asDouble(), tolerance);
  EXPECT_NEAR(box.y1, expected[1].asDouble(), tolerance);
  EXPECT_NEAR(box.x2, expected[2].asDouble(), tolerance);
  EXPECT_NEAR(box.y2, expected[3].asDouble(), tolerance);
}

TEST(PlacementTest, AgreesWithNumpyForManySizes) {
  const Json::Value cases = ReadJson("geometry.json");
  ASSERT_GT(cases.size(), 50U);
  for (const Json::Value& known : cases) {
    SCOPED_TRACE(known["picture"].toStyledString() + known["input"].toStyledString());
    const cv::Size picture = SizeOf(known["picture"]);
    InputLayout layout;
    layout.size = SizeOf(known["input"]);
    const Json::Value& box = known["box"];
    const Detection in_input{
        box[0].asFloat(), box[1].asFloat(), box[2].asFloat(), box[3].asFloat(), 0.5F, 3};

    layout.resize = Resize::kLetterbox;
    const Placement letterbox = Place(layout, picture);
    EXPECT_EQ(letterbox.content, RectOf(known["letterbox"]));
    EXPECT_EQ(letterbox.source, cv::Rect({0, 0}, picture));
    ExpectBox(letterbox.ToPicture(in_input), known["letterbox_box"], picture);
    EXPECT_EQ(letterbox.ToPicture(in_input).confidence, 0.5F);
    EXPECT_EQ(letterbox.ToPicture(in_input).class_id, 3);

    layout.resize = Resize::kCrop;
    const Placement crop = Place(layout, picture);
    EXPECT_EQ(crop.source, RectOf(known["crop"]));
    EXPECT_EQ(crop.content, cv::Rect({0, 0}, layout.size));
    ExpectBox(crop.ToPicture(in_input), known["crop_box"], picture);

    layout.resize = Resize::kStretch;
    ExpectBox(Place(layout, picture).ToPicture(in_input), known["stretch_box"], picture);
  }
}

TEST(PlacementTest, TheContentsCornersAreThePicturesCorners) {
  InputLayout layout;
  layout.size = {640, 640};
  const Placement placement = Place(layout, {1921, 1077});
  const auto [left, top, width, height] = placement.content;
  const Detection box = placement.ToPicture({static_cast<float>(left), static_cast<float>(top),
                                             static_cast<float>(left + width),
                                             static_cast<float>(top + height), 1, 0});
  EXPECT_FLOAT_EQ(box.x1, 0);
  EXPECT_FLOAT_EQ(box.y1, 0);
  EXPECT_FLOAT_EQ(box.x2, 1921);
  EXPECT_FLOAT_EQ(box.y2, 1077);
}

TEST(PlacementTest, AnAnySizeInputTakesThePictureAsItIsOrShrinksIt) {
  InputLayout layout;
  layout.max_side = 1280;
  EXPECT_EQ(Place(layout, {1280, 700}).input, cv::Size(1280, 700));
  const Placement shrunk = Place(layout, {2560, 1001});
  EXPECT_EQ(shrunk.input, cv::Size(1280, 500));  // half to even
  EXPECT_EQ(shrunk.content, cv::Rect(0, 0, 1280, 500));
  EXPECT_FLOAT_EQ(shrunk.ToPicture({0, 0, 640, 250, 1, 0}).x2, 1280);
  EXPECT_FLOAT_EQ(shrunk.ToPicture({0, 0, 640, 250, 1, 0}).y2, 500.5);
  EXPECT_EQ(Place(layout, {1, 60000}).input, cv::Size(1, 1280));
}

TEST(PlacementTest, OpenSidesAreRoundedUpAndPaddedAtTheEnd) {
  InputLayout layout;
  layout.max_side = 960;
  layout.multiple_of = 32;
  const Placement small = Place(layout, {641, 480});
  EXPECT_EQ(small.input, cv::Size(672, 480));
  EXPECT_EQ(small.content, cv::Rect(0, 0, 641, 480));
  const Placement shrunk = Place(layout, {4000, 3000});
  EXPECT_EQ(shrunk.input, cv::Size(960, 736));
  EXPECT_EQ(shrunk.content, cv::Rect(0, 0, 960, 720));
  EXPECT_FLOAT_EQ(shrunk.ToPicture({96, 72, 960, 720, 1, 0}).x1, 400);
  EXPECT_FLOAT_EQ(shrunk.ToPicture({96, 72, 960, 720, 1, 0}).y2, 3000);
  EXPECT_EQ(Place(layout, {1, 1}).input, cv::Size(32, 32));
  EXPECT_EQ(Place(layout, {1, 60000}).input, cv::Size(32, 960));
}

TEST(PlacementTest, AnOpenWidthFollowsThePicturesShape) {
  InputLayout layout;
  layout.size = {0, 48};
  layout.max_side = 960;
  layout.multiple_of = 80;
  const Placement line = Place(layout, {200, 20});
  EXPECT_EQ(line.content, cv::Rect(0, 0, 480, 48));
  EXPECT_EQ(line.input, cv::Size(480, 48));
  EXPECT_EQ(Place(layout, {201, 20}).content.width, 482);
  EXPECT_EQ(Place(layout, {201, 20}).input, cv::Size(560, 48));
  EXPECT_EQ(Place(layout, {96, 96}).content, cv::Rect(0, 0, 48, 48));
  // Too long a line is squeezed.
  EXPECT_EQ(Place(layout, {4000, 48}).content, cv::Rect(0, 0, 960, 48));
  EXPECT_FLOAT_EQ(Place(layout, {4000, 48}).ToPicture({0, 0, 480, 48, 1, 0}).x2, 2000);
  EXPECT_EQ(Place(layout, {60000, 1}).input, cv::Size(960, 48));
  EXPECT_EQ(Place(layout, {1, 60000}).content, cv::Rect(0, 0, 1, 48));
}

TEST(PlacementTest, AnOpenHeightFollowsThePicturesShape) {
  InputLayout layout;
  layout.size = {48, 0};
  layout.multiple_of = 80;
  EXPECT_EQ(Place(layout, {20, 200}).content, cv::Rect(0, 0, 48, 480));
  EXPECT_EQ(Place(layout, {20, 201}).input, cv::Size(48, 560));
}

TEST(PlacementTest, APartIsPlacedAsAPictureOfItsOwn) {
  InputLayout layout;
  layout.size = {64, 64};
  const Placement placed = Place(layout, {1000, 800}, {100, 200, 128, 64});
  EXPECT_EQ(placed.picture, cv::Size(1000, 800));
  EXPECT_EQ(placed.source, cv::Rect(100, 200, 128, 64));
  EXPECT_EQ(placed.part, placed.source);
  EXPECT_EQ(placed.content, Place(layout, {128, 64}).content);
  const Detection box = placed.ToPicture({8, 20, 16, 40, 0.5F, 3});
  EXPECT_FLOAT_EQ(box.x1, 116);
  EXPECT_FLOAT_EQ(box.y1, 208);
  EXPECT_FLOAT_EQ(box.x2, 132);
  EXPECT_FLOAT_EQ(box.y2, 248);
  // Clipped to the part, not to the picture.
  const Detection all = placed.ToPicture({-100, -100, 100, 100, 0.5F, 3});
  EXPECT_FLOAT_EQ(all.x1, 100);
  EXPECT_FLOAT_EQ(all.y1, 200);
  EXPECT_FLOAT_EQ(all.x2, 228);
  EXPECT_FLOAT_EQ(all.y2, 264);

  layout.resize = Resize::kCrop;
  EXPECT_EQ(Place(layout, {1000, 800}, {100, 200, 128, 64}).source, cv::Rect(132, 200, 64, 64));
}

TEST(PlacementTest, AllOfADetectionIsMoved) {
  InputLayout layout;
  layout.size = {64, 64};
  const Placement placement = Place(layout, {128, 64});  // 64 x 32 at (0, 16)
  Detection in_input{10, 26, 20, 36, 0.5F, 3};
  in_input.corners = {{0, 0}, {64, 16}, {64, 48}, {-8, 48}};
  in_input.keypoints = {{32, 32, 0.5F}, {32, 60, 0.25F}};
  in_input.mask = {{{10, 26}, {70, 26}, {20, 0}}};
  in_input.text = "word";
  const Detection moved = placement.ToPicture(in_input);
  EXPECT_EQ(moved.x1, 20);
  EXPECT_EQ(moved.y2, 40);
  // Corners stay a rectangle's; the others are clipped.
  EXPECT_EQ(moved.corners, (std::vector<Point>{{0, -32}, {128, 0}, {128, 64}, {-16, 64}}));
  EXPECT_EQ(moved.keypoints, (std::vector<Keypoint>{{64, 32, 0.5F}, {64, 64, 0.25F}}));
  EXPECT_EQ(moved.mask, (std::vector<Polygon>{{{20, 20}, {128, 20}, {40, 0}}}));
  EXPECT_EQ(moved.text, "word");
  EXPECT_EQ(placement.ToPicture(Point{-8, 0}), (Point{-16, -32}));
}

TEST(PlacementTest, WhatIsNotANumberStaysSo) {
  InputLayout layout;
  layout.size = {64, 64};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(Place(layout, {10, 10}).ToPicture({nan, 0, 1, 1, 1, 0}).x1));
}

}  // namespace
}  // namespace inferpool::vision
