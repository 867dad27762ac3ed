#include "worker/vision/families/yolo_decoders.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/worker/vision/families/answers.h"

namespace inferpool::vision {
namespace {

ModelPlan OneOutput(Family family, std::size_t classes) {
  ModelPlan plan;
  plan.family = family;
  plan.classes = classes;
  plan.outputs = {"head"};
  return plan;
}

TEST(RawHeadsTest, YoloV8FindsAnchorsInEveryBlock) {
  constexpr std::size_t kAnchors = 2500;
  constexpr std::size_t kRows = 4 + 2;
  std::vector<float> head(kRows * kAnchors, 0.0F);
  for (const std::size_t anchor : {0U, 1023U, 1024U, 2047U, 2499U}) {
    head[0 * kAnchors + anchor] = 10;
    head[1 * kAnchors + anchor] = 20;
    head[2 * kAnchors + anchor] = 4;
    head[3 * kAnchors + anchor] = 6;
    head[5 * kAnchors + anchor] = 0.5F;
  }
  Answer answer;
  answer.Add("head", "FP32", {1, 6, kAnchors}, head);
  const auto detections = ReadYoloV8(OneOutput(Family::kYoloV8, 2), answer.views(), 0.25F);
  ASSERT_TRUE(detections.ok()) << detections.status();
  ASSERT_EQ(detections->size(), 5U);
  for (const Detection& detection : *detections) {
    EXPECT_EQ(detection.x1, 8);
    EXPECT_EQ(detection.y1, 17);
    EXPECT_EQ(detection.x2, 12);
    EXPECT_EQ(detection.y2, 23);
    EXPECT_EQ(detection.confidence, 0.5F);
    EXPECT_EQ(detection.class_id, 1);
  }
}

TEST(RawHeadsTest, AScoreAtTheThresholdIsNotAboveIt) {
  Answer v8;
  v8.Add("head", "FP32", {5, 6},
         {1,    1,    1,    1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,  //
          0.5F, 0.4F, 0.6F, 0, 1, -1});
  const auto found = ReadYoloV8(OneOutput(Family::kYoloV8, 1), v8.views(), 0.5F);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->size(), 2U);
}

TEST(RawHeadsTest, ScoresThatAreNotNumbersDoNotHideOthers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Answer v8;
  v8.Add("head", "FP32", {7, 1}, {5, 5, 2, 2, nan, 0.6F, nan});
  const auto found = ReadYoloV8(OneOutput(Family::kYoloV8, 3), v8.views(), 0.25F);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(found->front().class_id, 1);

  Answer v5;
  v5.Add("head", "FP32", {2, 7}, {5, 5, 2, 2, 1, nan, 0.6F, 5, 5, 2, 2, nan, 1, 1});
  const auto v5_found = ReadYoloV5(OneOutput(Family::kYoloV5, 2), v5.views(), 0.25F);
  ASSERT_TRUE(v5_found.ok());
  ASSERT_EQ(v5_found->size(), 1U);
  EXPECT_EQ(v5_found->front().class_id, 1);
}

TEST(RawHeadsTest, YoloV5NeedsBothTheObjectAndTheClass) {
  Answer answer;
  answer.Add("head", "FP32", {3, 6},
             {5, 5, 2, 2, 0.9F, 0.9F,     // 0.81
              5, 5, 2, 2, 0.9F, 0.2F,     // 0.18
              5, 5, 2, 2, 0.25F, 9.0F});  // no object
  const auto found = ReadYoloV5(OneOutput(Family::kYoloV5, 1), answer.views(), 0.25F);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1U);
  EXPECT_NEAR(found->front().confidence, 0.81, 1e-6);
}

TEST(RawHeadsTest, AnotherNumberOfClassesThanPlannedIsAnInternalError) {
  Answer answer;
  answer.Add("head", "FP32", {6, 6}, std::vector<float>(36, 0.0F));
  EXPECT_TRUE(ReadYoloV8(OneOutput(Family::kYoloV8, 2), answer.views(), 0.25F).ok());
  EXPECT_TRUE(ReadYoloV8(OneOutput(Family::kYoloV8, 0), answer.views(), 0.25F).ok());
  EXPECT_EQ(ReadYoloV8(OneOutput(Family::kYoloV8, 3), answer.views(), 0.25F).status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(ReadYoloV5(OneOutput(Family::kYoloV5, 2), answer.views(), 0.25F).status().code(),
            absl::StatusCode::kInternal);
}

TEST(RawHeadsTest, AHeadWithoutAClassIsAnInternalError) {
  for (const std::int64_t length : {1, 3, 4, 5}) {
    Answer v8;
    v8.Add("head", "FP32", {length, 3}, std::vector<float>(static_cast<std::size_t>(length) * 3));
    const auto code8 = ReadYoloV8(OneOutput(Family::kYoloV8, 0), v8.views(), 0.25F).status().code();
    EXPECT_EQ(code8, length > 4 ? absl::StatusCode::kOk : absl::StatusCode::kInternal) << length;
    Answer v5;
    v5.Add("head", "FP32", {3, length}, std::vector<float>(static_cast<std::size_t>(length) * 3));
    EXPECT_EQ(ReadYoloV5(OneOutput(Family::kYoloV5, 0), v5.views(), 0.25F).status().code(),
              absl::StatusCode::kInternal)
        << length;
  }
}

}  // namespace
}  // namespace inferpool::vision
