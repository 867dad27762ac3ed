#include "worker/vision/tile_merge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "worker/vision/tiles.h"

namespace inferpool::vision {
namespace {

// A picture of 1000 x 1000 pixels, whose tiles of 600 x 600 share 200: seams are at 400 and 600.
const cv::Rect kWhole(0, 0, 1000, 1000);

std::vector<FoundInPart> Parts() {
  std::vector<FoundInPart> parts{{kWhole, {}}};
  for (const cv::Rect& tile : CutIntoTiles(kWhole, {2, 2}, 1.0 / 3)) parts.push_back({tile, {}});
  return parts;
}

enum Part : std::size_t { kAll, kTopLeft, kTopRight, kBottomLeft, kBottomRight };

Detection BoxOf(float x1, float y1, float x2, float y2, float confidence = 0.5F, int class_id = 0) {
  return {x1, y1, x2, y2, confidence, class_id};
}

// What a net sees of an object: the box in every part that shows enough of it. It is sure of those
// that it sees in full.
void See(std::vector<FoundInPart>& parts, const Detection& object, bool in_the_whole = true) {
  for (std::size_t i = in_the_whole ? 0 : 1; i < parts.size(); ++i) {
    const cv::Rect& part = parts[i].part;
    Detection seen = object;
    seen.x1 = std::max(object.x1, static_cast<float>(part.x));
    seen.y1 = std::max(object.y1, static_cast<float>(part.y));
    seen.x2 = std::min(object.x2, static_cast<float>(part.br().x));
    seen.y2 = std::min(object.y2, static_cast<float>(part.br().y));
    if (seen.x2 - seen.x1 < 10 || seen.y2 - seen.y1 < 10) continue;
    const float share = (seen.x2 - seen.x1) * (seen.y2 - seen.y1) /
                        ((object.x2 - object.x1) * (object.y2 - object.y1));
    seen.confidence = object.confidence * (0.5F + share / 2) - 0.001F * static_cast<float>(i);
    // No net is exact.
    const auto off = static_cast<float>(i);
    seen.x1 += seen.x1 > static_cast<float>(part.x) ? off : 0;
    seen.y2 -= seen.y2 < static_cast<float>(part.br().y) ? off / 2 : off;
    parts[i].found.push_back(seen);
  }
}

::testing::AssertionResult IsAbout(const Detection& found, const Detection& object,
                                   float pixels = 12) {
  const float farthest = std::max({std::abs(found.x1 - object.x1), std::abs(found.y1 - object.y1),
                                   std::abs(found.x2 - object.x2), std::abs(found.y2 - object.y2)});
  if (farthest <= pixels) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << found.x1 << " " << found.y1 << " " << found.x2 << " " << found.y2;
}

// The whole shows small things so badly that it takes some for others.
TEST(TileMergeTest, ASmallThingThatTheWholeTakesForAnotherIsAnsweredOnce) {
  std::vector<FoundInPart> parts = Parts();
  const Detection square = BoxOf(100, 100, 164, 164, 0.97F, 1);
  parts[kAll].found.push_back(BoxOf(103, 98, 166, 161, 0.75F, 2));
  parts[kTopLeft].found.push_back(square);
  const Detections merged = MergeTiles(std::move(parts), {});
  ASSERT_EQ(merged.size(), 1U);
  EXPECT_EQ(merged[0].class_id, 1);
  EXPECT_TRUE(IsAbout(merged[0], square, 1));
}

TEST(TileMergeTest, WhatTheWholeAloneSeesStaysAsItIs) {
  const Detections found = {BoxOf(1, 2, 3, 4, 0.9F), BoxOf(1, 2, 3, 4, 0.8F),
                            BoxOf(0, 0, 1000, 1000, 0.7F)};
  const Detections merged = MergeTiles({{kWhole, found}}, {});
  ASSERT_EQ(merged.size(), 3U);
  EXPECT_EQ(merged[1].confidence, 0.8F);
  EXPECT_TRUE(MergeTiles({}, {}).empty());
}

TEST(TileMergeTest, AnObjectIsAnsweredOnceWhereverItLies) {
  for (const float size : {24.0F, 60.0F, 150.0F, 199.0F, 260.0F, 450.0F, 800.0F}) {
    for (float x = 0; x + size <= 1000; x += 7) {
      for (const float y : {0.0F, 190.0F, 1000 - size}) {
        auto parts = Parts();
        const Detection object = BoxOf(x, y, x + size, y + size, 0.9F);
        See(parts, object);
        const Detections merged = MergeTiles(std::move(parts), {});
        ASSERT_EQ(merged.size(), 1U) << size << " at " << x << ", " << y;
        EXPECT_TRUE(IsAbout(merged[0], object)) << size << " at " << x << ", " << y;
      }
    }
  }
}

TEST(TileMergeTest, WhatTheWholeDoesNotShowIsJoinedOfItsPieces) {
  for (const float size : {60.0F, 199.0F, 260.0F, 350.0F, 500.0F}) {
    for (float x = 0; x + size <= 1000; x += 7) {
      for (const float y : {0.0F, 320.0F, 1000 - size}) {
        if (y + size > 1000) continue;
        auto parts = Parts();
        const Detection object = BoxOf(x, y, x + size, y + size, 0.9F);
        See(parts, object, /*in_the_whole=*/false);
        const Detections merged = MergeTiles(std::move(parts), {});
        ASSERT_EQ(merged.size(), 1U) << size << " at " << x << ", " << y;
        EXPECT_TRUE(IsAbout(merged[0], object)) << size << " at " << x << ", " << y;
      }
    }
  }
}

TEST(TileMergeTest, ObjectsSideBySideStayApart) {
  for (const float size : {30.0F, 120.0F, 190.0F, 400.0F}) {
    for (float x = 0; x + 2 * size <= 1000; x += 7) {
      for (const bool stacked : {false, true}) {
        auto parts = Parts();
        const Detection one = BoxOf(x, 300, x + size, 300 + size, 0.9F);
        const Detection other = BoxOf(x + size, 300, x + 2 * size, 300 + size, 0.8F);
        const auto turned = [stacked](const Detection& box) {
          return stacked ? BoxOf(box.y1, box.x1, box.y2, box.x2, box.confidence) : box;
        };
        See(parts, turned(one));
        See(parts, turned(other));
        const Detections merged = MergeTiles(std::move(parts), {});
        ASSERT_EQ(merged.size(), 2U) << size << " at " << x;
        EXPECT_TRUE(IsAbout(merged[0], turned(one))) << size << " at " << x;
        EXPECT_TRUE(IsAbout(merged[1], turned(other))) << size << " at " << x;
      }
    }
  }
}

// One is cut by the left tile's border, the other by the right one's, at different heights.
TEST(TileMergeTest, PiecesOfDifferentObjectsAreNotJoined) {
  auto parts = Parts();
  parts[kTopLeft].found = {BoxOf(300, 100, 600, 160)};
  parts[kTopRight].found = {BoxOf(400, 170, 700, 230), BoxOf(400, 100, 900, 400)};
  EXPECT_EQ(MergeTiles(std::move(parts), {}).size(), 3U);
}

TEST(TileMergeTest, BoxesOfOnePartStayApart) {
  auto parts = Parts();
  parts[kTopLeft].found = {BoxOf(100, 100, 200, 200, 0.9F), BoxOf(101, 100, 201, 200, 0.8F)};
  EXPECT_EQ(MergeTiles(std::move(parts), {}).size(), 2U);
}

TEST(TileMergeTest, OtherClassesAreOtherObjectsUnlessTheyAreWantedAsOne) {
  auto parts = Parts();
  parts[kTopLeft].found = {BoxOf(450, 100, 550, 200, 0.9F, 1)};
  parts[kTopRight].found = {BoxOf(450, 100, 550, 200, 0.8F, 2)};
  EXPECT_EQ(MergeTiles(parts, {}).size(), 2U);
  const Detections merged = MergeTiles(parts, {.class_agnostic = true});
  ASSERT_EQ(merged.size(), 1U);
  EXPECT_EQ(merged[0].class_id, 1);
}

// Half a circle is seen as something else.
TEST(TileMergeTest, APieceThatIsTakenForAnotherClassIsDropped) {
  auto parts = Parts();
  parts[kTopRight].found = {BoxOf(560, 100, 640, 180, 0.9F, 1)};
  parts[kTopLeft].found = {BoxOf(561, 100, 600, 181, 0.8F, 2)};
  const Detections merged = MergeTiles(parts, {});
  ASSERT_EQ(merged.size(), 1U);
  EXPECT_EQ(merged[0].class_id, 1);
  // Another object before it is none.
  parts[kTopLeft].found = {BoxOf(561, 100, 600, 120, 0.8F, 2)};
  EXPECT_EQ(MergeTiles(parts, {}).size(), 2U);
}

TEST(TileMergeTest, SomethingSmallIsAsTheTileShowsIt) {
  auto parts = Parts();
  parts[kAll].found = {BoxOf(90, 90, 140, 140, 0.95F)};
  parts[kTopLeft].found = {BoxOf(100, 100, 124, 124, 0.6F)};
  const Detections merged = MergeTiles(std::move(parts), {});
  ASSERT_EQ(merged.size(), 1U);
  EXPECT_EQ(merged[0].x2, 124);
}

TEST(TileMergeTest, MasksCornersAndKeypointsComeAlong) {
  auto parts = Parts();
  Detection left = BoxOf(300, 100, 600, 200, 0.6F);
  Detection right = BoxOf(400, 100, 800, 200, 0.8F);
  left.mask = {{{300, 100}, {600, 100}, {600, 200}, {300, 200}}};
  right.mask = {{{400, 100}, {800, 100}, {800, 200}, {400, 200}},
                {{410, 110}, {420, 110}, {420, 120}}};  // all of it is on the other's side
  left.corners = {{300, 100}, {600, 100}, {600, 200}, {300, 200}};
  right.corners = {{400, 100}, {800, 100}, {800, 200}, {400, 200}};
  left.keypoints = {{350, 150, 0.9F}, {600, 150, 0.1F}};
  right.keypoints = {{400, 150, 0.2F}, {700, 150, 0.7F}};
  parts[kTopLeft].found = {left};
  parts[kTopRight].found = {right};
  const Detections merged = MergeTiles(std::move(parts), {});
  ASSERT_EQ(merged.size(), 1U);
  const Detection& one = merged[0];
  EXPECT_EQ(one.confidence, 0.8F);
  EXPECT_TRUE(IsAbout(one, BoxOf(300, 100, 800, 200), 0));
  ASSERT_EQ(one.keypoints.size(), 2U);
  EXPECT_EQ(one.keypoints[0].x, 350);
  EXPECT_EQ(one.keypoints[1].x, 700);
  ASSERT_EQ(one.corners.size(), 4U);
  const std::vector<Point> expected = {{300, 100}, {800, 100}, {800, 200}, {300, 200}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(one.corners[i].x, expected[i].x, 1) << i;
    EXPECT_NEAR(one.corners[i].y, expected[i].y, 1) << i;
  }
  // The parts meet in the middle of what the tiles share, and do not overlap.
  ASSERT_EQ(one.mask.size(), 2U);
  for (const Point& point : one.mask[0]) EXPECT_LE(point.x, 500.01F);
  for (const Point& point : one.mask[1]) EXPECT_GE(point.x, 499.99F);
}

TEST(TileMergeTest, TheMostConfidentAreTaken) {
  auto parts = Parts();
  for (int i = 0; i < 20; ++i) {
    const auto at = static_cast<float>(40 * i);
    parts[kAll].found.push_back(BoxOf(at, 900, at + 30, 930, 0.5F + 0.01F * static_cast<float>(i)));
  }
  const Detections merged = MergeTiles(std::move(parts), {.max_detections = 3});
  ASSERT_EQ(merged.size(), 3U);
  EXPECT_FLOAT_EQ(merged[0].confidence, 0.69F);
  EXPECT_FLOAT_EQ(merged[2].confidence, 0.67F);
}

TEST(TileMergeTest, ManyBoxesDoNotTakeForever) {
  auto parts = Parts();
  for (auto& part : parts) {
    for (int i = 0; i < 5'000; ++i) {
      const auto x = static_cast<float>(part.part.x + i % 590);
      const auto y = static_cast<float>(part.part.y + i * 7 % 590);
      part.found.push_back(BoxOf(x, y, x + 10, y + 10, 0.5F, i % 3));
    }
  }
  const Detections merged = MergeTiles(std::move(parts), {.iou = 1, .max_detections = 300});
  EXPECT_EQ(merged.size(), 300U);
}

}  // namespace
}  // namespace inferpool::vision
