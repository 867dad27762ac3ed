#include "worker/vision/families/yolo_decoders.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "shared/base/status.h"
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

// Too few anchors to tell anything from their number.
const cv::Size kInput(64, 64);

absl::StatusOr<Candidates> YoloV8(const ModelPlan& plan, const Answer& answer, float confidence) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(answer.views(), "head", 2));
  return ReadYoloV8(plan, head, 0, confidence, kInput);
}

absl::StatusOr<Candidates> YoloV5(const ModelPlan& plan, const Answer& answer, float confidence) {
  ASSIGN_OR_RETURN(const Numbers head, ReadOutput(answer.views(), "head", 2));
  return ReadYoloV5(plan, head, confidence, kInput);
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
  const auto detections = YoloV8(OneOutput(Family::kYoloV8, 2), answer, 0.25F);
  ASSERT_TRUE(detections.ok()) << detections.status();
  ASSERT_EQ(detections->size(), 5U);
  for (const Candidate& detection : *detections) {
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
          0.5F, 0.4F, 0.6F, 0, 1, 0});
  const auto found = YoloV8(OneOutput(Family::kYoloV8, 1), v8, 0.5F);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->size(), 2U);
}

TEST(RawHeadsTest, ScoresThatAreNotNumbersAreAnInternalError) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t at : {4U, 5U, 6U}) {
    std::vector<float> values{5, 5, 2, 2, 0.1F, 0.6F, 0.1F};
    values[at] = nan;
    Answer v8;
    v8.Add("head", "FP32", {7, 1}, values);
    EXPECT_EQ(YoloV8(OneOutput(Family::kYoloV8, 3), v8, 0.25F).status().code(),
              absl::StatusCode::kInternal);
    values[4] = at == 4 ? nan : 0.9F;
    Answer v5;
    v5.Add("head", "FP32", {1, 7}, values);
    EXPECT_EQ(YoloV5(OneOutput(Family::kYoloV5, 2), v5, 0.25F).status().code(),
              absl::StatusCode::kInternal);
  }
}

// The text says what is wrong and what to set.
void ExpectMisfit(const absl::Status& status, const std::string& what) {
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.ToString().find(what), std::string::npos) << status;
  EXPECT_NE(status.ToString().find("\"family\" in config.pbtxt"), std::string::npos) << status;
}

// [4 + 2, anchors] with centres all over the input, in which nothing is found.
std::vector<float> Quiet(std::size_t anchors) {
  std::vector<float> head(6 * anchors, 0.01F);
  for (std::size_t anchor = 0; anchor < anchors; ++anchor) {
    const float x = static_cast<float>(anchor) * 64 / static_cast<float>(anchors);
    head[anchor] = x;
    head[anchors + anchor] = x;
    head[2 * anchors + anchor] = 8;
    head[3 * anchors + anchor] = 8;
  }
  return head;
}

absl::Status StatusOf(const std::vector<float>& head, const ModelPlan& plan,
                      float confidence = 0.25F) {
  Answer answer;
  answer.Add("head", "FP32", {6, static_cast<std::int64_t>(head.size() / 6)}, head);
  return YoloV8(plan, answer, confidence).status();
}

TEST(RawHeadsTest, WhatIsNoScoreIsAMisfit) {
  constexpr std::size_t kAnchors = 84;  // 64 + 16 + 4 cells
  const ModelPlan plan = OneOutput(Family::kYoloV8, 2);
  EXPECT_TRUE(StatusOf(Quiet(kAnchors), plan).ok());
  std::vector<float> percent = Quiet(kAnchors);
  percent[4 * kAnchors + 7] = 90;
  ExpectMisfit(StatusOf(percent, plan), "has the score 90");
  std::vector<float> logits = Quiet(kAnchors);
  std::fill(logits.begin() + 4 * kAnchors, logits.end(), -6.0F);
  ExpectMisfit(StatusOf(logits, plan), "has the score -6");
  std::vector<float> rounded = Quiet(kAnchors);
  rounded[4 * kAnchors] = -0.001F;
  rounded[5 * kAnchors] = 1.001F;
  EXPECT_TRUE(StatusOf(rounded, plan).ok()) << StatusOf(rounded, plan);
}

TEST(RawHeadsTest, AClassThatIsFoundNearlyEverywhereIsNone) {
  constexpr std::size_t kAnchors = 84;
  std::vector<float> angles = Quiet(kAnchors);
  std::fill(angles.begin() + 5 * kAnchors, angles.end(), 0.5F);
  const ModelPlan plan = OneOutput(Family::kYoloV8, 2);
  ExpectMisfit(StatusOf(angles, plan), "at 84 of 84 anchors");
  // Whoever asks for everything gets it.
  EXPECT_TRUE(StatusOf(Quiet(kAnchors), plan, 0).ok());
}

TEST(RawHeadsTest, ManyFindsInABlockHaveTheirClassesToo) {
  constexpr std::size_t kAnchors = 1500;
  std::vector<float> head = Quiet(kAnchors);
  for (std::size_t anchor = 0; anchor < kAnchors; anchor += 3) {
    head[4 * kAnchors + anchor] = anchor % 2 == 0 ? 0.75F : 0.5F;
    head[5 * kAnchors + anchor] = anchor % 4 == 0 ? 0.75F : 0.625F;  // a tie, lower, higher
  }
  Answer answer;
  answer.Add("head", "FP32", {6, kAnchors}, head);
  const auto found = YoloV8(OneOutput(Family::kYoloV8, 2), answer, 0.25F);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), kAnchors / 3);
  for (std::size_t i = 0; i < found->size(); ++i) {
    EXPECT_EQ((*found)[i].source, 3 * i);
    EXPECT_EQ((*found)[i].class_id, i % 2 == 0 ? 0 : 1);
    EXPECT_EQ((*found)[i].confidence, i % 2 == 0 ? 0.75F : 0.625F);
  }
}

TEST(RawHeadsTest, BoxesInOtherUnitsAreAMisfitThoughNothingIsFound) {
  constexpr std::size_t kAnchors = 84;
  ModelPlan plan = OneOutput(Family::kYoloV8, 2);
  std::vector<float> unit = Quiet(kAnchors);
  std::transform(unit.begin(), unit.begin() + 4 * kAnchors, unit.begin(),
                 [](float value) { return value / 64; });
  ExpectMisfit(StatusOf(unit, plan), "box_coordinates");
  plan.normalized_boxes = true;
  EXPECT_TRUE(StatusOf(unit, plan).ok());
  ExpectMisfit(StatusOf(Quiet(kAnchors), plan), "box_coordinates");
}

TEST(RawHeadsTest, AHeadToldByItsShapeHasTheAnchorsOfItsInput) {
  ModelPlan plan = OneOutput(Family::kYoloV8, 2);
  EXPECT_TRUE(StatusOf(Quiet(70), plan).ok());
  plan.told_by_shape = true;
  EXPECT_TRUE(StatusOf(Quiet(84), plan).ok());
  ExpectMisfit(StatusOf(Quiet(70), plan), "has 70 anchors");
}

TEST(RawHeadsTest, YoloxNeedsTheAnchorsOfItsCells) {
  Answer answer;
  answer.Add("head", "FP32", {83, 6}, std::vector<float>(83 * 6));
  const auto head = ReadOutput(answer.views(), "head", 2);
  ExpectMisfit(ReadYolox(OneOutput(Family::kYolox, 1), *head, 0.25F, kInput).status(), "give 84");
}

TEST(RawHeadsTest, YoloV5WithOneAnchorACellHasToBeNamed) {
  ModelPlan plan = OneOutput(Family::kYoloV5, 1);
  const auto status_of = [&plan](std::size_t anchors) {
    std::vector<float> rows(anchors * 6, 0.01F);
    rows[0] = 60;
    Answer answer;
    answer.Add("head", "FP32", {static_cast<std::int64_t>(anchors), 6}, rows);
    return YoloV5(plan, answer, 0.25F).status();
  };
  ExpectMisfit(status_of(84), "YOLOX");
  EXPECT_TRUE(status_of(3 * 84).ok()) << status_of(3 * 84);
  EXPECT_TRUE(status_of(70).ok()) << "the anchors of no grid";
  plan.family_named = true;
  EXPECT_TRUE(status_of(84).ok()) << status_of(84);
}

TEST(RawHeadsTest, YoloV5NeedsBothTheObjectAndTheClass) {
  Answer answer;
  answer.Add("head", "FP32", {3, 6},
             {5, 5, 2, 2, 0.9F, 0.9F,     // 0.81
              5, 5, 2, 2, 0.9F, 0.2F,     // 0.18
              5, 5, 2, 2, 0.25F, 0.9F});  // no object
  const auto found = YoloV5(OneOutput(Family::kYoloV5, 1), answer, 0.25F);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1U);
  EXPECT_NEAR(found->front().confidence, 0.81, 1e-6);
}

TEST(RawHeadsTest, AnotherNumberOfClassesThanPlannedIsAnInternalError) {
  Answer answer;
  answer.Add("head", "FP32", {6, 6}, std::vector<float>(36, 0.0F));
  EXPECT_TRUE(YoloV8(OneOutput(Family::kYoloV8, 2), answer, 0.25F).ok());
  EXPECT_TRUE(YoloV8(OneOutput(Family::kYoloV8, 0), answer, 0.25F).ok());
  EXPECT_EQ(YoloV8(OneOutput(Family::kYoloV8, 3), answer, 0.25F).status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(YoloV5(OneOutput(Family::kYoloV5, 2), answer, 0.25F).status().code(),
            absl::StatusCode::kInternal);
}

TEST(RawHeadsTest, AHeadWithoutAClassIsAnInternalError) {
  for (const std::int64_t length : {1, 3, 4, 5}) {
    Answer v8;
    v8.Add("head", "FP32", {length, 3}, std::vector<float>(static_cast<std::size_t>(length) * 3));
    const auto code8 = YoloV8(OneOutput(Family::kYoloV8, 0), v8, 0.25F).status().code();
    EXPECT_EQ(code8, length > 4 ? absl::StatusCode::kOk : absl::StatusCode::kInternal) << length;
    Answer v5;
    v5.Add("head", "FP32", {3, length}, std::vector<float>(static_cast<std::size_t>(length) * 3));
    EXPECT_EQ(YoloV5(OneOutput(Family::kYoloV5, 0), v5, 0.25F).status().code(),
              absl::StatusCode::kInternal)
        << length;
  }
}

}  // namespace
}  // namespace inferpool::vision
