#include "worker/vision/families/nms.h"

#include <gtest/gtest.h>

#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

TEST(NmsTest, AgreesWithComparingEveryPairInNumpy) {
  const Json::Value answers = ReadJson("answers.json");
  const Json::Value& known = answers["nms"];
  Candidates candidates;
  for (Json::ArrayIndex i = 0; i < known["boxes"].size(); ++i) {
    const Json::Value& box = known["boxes"][i];
    candidates.push_back({box[0].asFloat(), box[1].asFloat(), box[2].asFloat(), box[3].asFloat(),
                          known["scores"][i].asFloat(), known["classes"][i].asInt()});
  }
  const Candidates kept = SuppressNonMaxima(candidates, answers["options"]["iou"].asFloat(), 1000);
  const Json::Value& expected = known["expected"];
  ASSERT_EQ(kept.size(), expected.size());
  for (Json::ArrayIndex i = 0; i < expected.size(); ++i) {
    const Candidate& wanted = candidates[expected[i].asUInt()];
    EXPECT_EQ(kept[i].confidence, wanted.confidence);
    EXPECT_EQ(kept[i].x1, wanted.x1);
  }
}

TEST(NmsTest, OnlyTheSameClassSuppresses) {
  const Candidates twins = {{0, 0, 10, 10, 0.9F, 1}, {0, 0, 10, 10, 0.8F, 2}};
  EXPECT_EQ(SuppressNonMaxima(twins, 0.5F, 10).size(), 2U);
}

TEST(NmsTest, AnOverlapAtTheThresholdIsKept) {
  // Intersection 50, union 150.
  const Candidates boxes = {{0, 0, 10, 10, 0.9F, 1}, {5, 0, 15, 10, 0.8F, 1}};
  EXPECT_EQ(SuppressNonMaxima(boxes, 50.0F / 150.0F, 10).size(), 2U);
  EXPECT_EQ(SuppressNonMaxima(boxes, 0.33F, 10).size(), 1U);
}

TEST(NmsTest, ABoxLessThanAPixelHighOrWideIsSuppressedByItsTwin) {
  EXPECT_EQ(
      SuppressNonMaxima({{0, 0, 10, 0.5F, 0.9F, 1}, {0, 0, 10, 0.5F, 0.8F, 1}}, 0.5F, 10).size(),
      1U);
  EXPECT_EQ(
      SuppressNonMaxima({{0, 0, 0.5F, 10, 0.9F, 1}, {0, 0, 0.5F, 10, 0.8F, 1}}, 0.5F, 10).size(),
      1U);
}

TEST(NmsTest, ASuppressedBoxSuppressesNothing) {
  const Candidates chain = {
      {0, 0, 10, 10, 0.9F, 1}, {4, 0, 14, 10, 0.8F, 1}, {8, 0, 18, 10, 0.7F, 1}};
  const Candidates kept = SuppressNonMaxima(chain, 0.4F, 10);
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_EQ(kept[1].x1, 8);
}

TEST(NmsTest, EqualConfidencesKeepTheirOrderAndTheLimitHolds) {
  Candidates boxes;
  for (int i = 0; i < 50; ++i) {
    const auto x = static_cast<float>(20 * i);
    boxes.push_back({x, 0, x + 10, 10, 0.5F, 1});
  }
  const Candidates kept = SuppressNonMaxima(boxes, 0.5F, 3);
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept[0].x1, 0);
  EXPECT_EQ(kept[1].x1, 20);
  EXPECT_EQ(kept[2].x1, 40);
}

TEST(NmsTest, OnlyTheThirtyThousandBestAreLookedAt) {
  Candidates boxes(30001, {0, 0, 10, 10, 0.9F, 1});
  boxes[0] = {100, 100, 110, 110, 0.1F, 1};
  EXPECT_EQ(SuppressNonMaxima(boxes, 0.5F, 10).size(), 1U);
}

}  // namespace
}  // namespace inferpool::vision
