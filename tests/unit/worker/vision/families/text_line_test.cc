#include "worker/vision/families/text_line.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace inferpool::vision {
namespace {

const std::vector<std::string> kDictionary = {"a", "b", "\u00e9", "\u7597"};
constexpr std::size_t kBlank = 0;
constexpr std::size_t kA = 1;
constexpr std::size_t kB = 2;
constexpr std::size_t kSpace = 5;

ModelPlan Plan(std::vector<std::string> dictionary = kDictionary, Scores scores = Scores::kAuto) {
  ModelPlan plan;
  plan.family = Family::kTextLine;
  plan.outputs = {"softmax"};
  plan.dictionary = std::move(dictionary);
  plan.scores = scores;
  return plan;
}

using Steps = std::vector<std::pair<std::size_t, float>>;

// At each step one class with that probability, and the rest spread evenly.
Numbers Line(const Steps& steps, std::size_t classes = 6) {
  std::vector<float> values;
  for (const auto& [best, probability] : steps) {
    for (std::size_t i = 0; i < classes; ++i) {
      values.push_back(i == best ? probability
                                 : (1 - probability) / static_cast<float>(classes - 1));
    }
  }
  return {{steps.size(), classes}, std::move(values)};
}

TextLine Decoded(const Steps& steps) {
  const auto line = DecodeTextLine(Plan(), Line(steps));
  EXPECT_TRUE(line.ok()) << line.status();
  return line.value_or(TextLine{"error", -1});
}

TEST(TextLineTest, ARunCountsOnceAndABlankSeparatesRuns) {
  const TextLine line = Decoded({{kBlank, 0.9F},
                                 {kA, 0.9F},
                                 {kA, 0.5F},
                                 {kBlank, 0.9F},
                                 {kA, 0.7F},
                                 {kB, 0.8F},
                                 {kB, 0.99F},
                                 {kBlank, 0.9F}});
  EXPECT_EQ(line.text, "aab");
  EXPECT_NEAR(line.confidence, (0.9F + 0.7F + 0.8F) / 3, 1e-6);
}

TEST(TextLineTest, CharactersAreUtf8AndTheLastClassIsTheSpace) {
  const TextLine line = Decoded({{3, 0.9F}, {kSpace, 0.6F}, {4, 0.9F}});
  EXPECT_EQ(line.text, "\u00e9 \u7597");
  EXPECT_NEAR(line.confidence, 0.8F, 1e-6);
}

TEST(TextLineTest, SpacesAtTheEndsAreDropped) {
  const TextLine line = Decoded(
      {{kSpace, 0.4F}, {kBlank, 0.9F}, {kSpace, 0.4F}, {kA, 0.9F}, {kSpace, 0.4F}, {kBlank, 0.9F}});
  EXPECT_EQ(line.text, "a");
  EXPECT_NEAR(line.confidence, 0.9F, 1e-6);
  EXPECT_EQ(Decoded({{kSpace, 0.9F}}).text, "");
  const auto wide =
      DecodeTextLine(Plan({"\u3000", "b"}), Line({{1, 0.9F}, {2, 0.9F}, {1, 0.9F}}, 3));
  ASSERT_TRUE(wide.ok()) << wide.status();
  EXPECT_EQ(wide->text, "b");
}

TEST(TextLineTest, NoCharacterIsAnEmptyTextWithoutConfidence) {
  for (const Steps& steps : {Steps{}, Steps{{kBlank, 0.9F}, {kBlank, 0.9F}}}) {
    const TextLine line = Decoded(steps);
    EXPECT_EQ(line.text, "");
    EXPECT_EQ(line.confidence, 0);
  }
}

TEST(TextLineTest, ADictionaryMayDoWithoutTheSpace) {
  const auto line = DecodeTextLine(Plan(), Line({{4, 0.9F}}, 5));
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->text, "\u7597");
}

TEST(TextLineTest, AnotherNumberOfClassesIsAnInternalError) {
  for (const std::size_t classes : {4U, 7U}) {
    EXPECT_EQ(DecodeTextLine(Plan(), Line({{kA, 0.9F}}, classes)).status().code(),
              absl::StatusCode::kInternal);
  }
}

TEST(TextLineTest, LogitsGoThroughSoftmax) {
  const Numbers logits({1, 6}, std::vector<float>{-1, 900, 898, -1, -1, -1});
  EXPECT_EQ(DecodeTextLine(Plan(), logits).status().code(), absl::StatusCode::kFailedPrecondition);
  const auto line = DecodeTextLine(Plan(kDictionary, Scores::kLogits), logits);
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->text, "a");
  EXPECT_NEAR(line->confidence, 0.880797, 1e-5);  // 1 / (1 + exp(-2))
}

TEST(TextLineTest, WhatIsNoDistributionIsRefused) {
  for (const std::vector<float>& values : {std::vector<float>{0, 0.5F, 0, 0, 0, 0},
                                           {0, 1, 1, 0, 0, 0},
                                           {-0.5F, 1.5F, 0, 0, 0, 0},
                                           {0, 80, 20, 0, 0, 0}}) {
    const absl::Status status = DecodeTextLine(Plan(), Numbers({1, 6}, values)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(status.message().find("\"scores\""), std::string::npos) << status;
  }
}

TEST(TextLineTest, WhatIsNotFiniteIsAnInternalError) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const Scores scores : {Scores::kAuto, Scores::kLogits}) {
      const Numbers steps({1, 6}, std::vector<float>{0, value, 0, 0, 0, 0});
      EXPECT_EQ(DecodeTextLine(Plan(kDictionary, scores), steps).status().code(),
                absl::StatusCode::kInternal);
    }
  }
}

ModelDescription LineModel(std::int64_t classes) {
  ModelDescription model;
  model.name = "line";
  model.max_batch_size = 1;
  model.inputs = {{"x", "FP32", {-1, 3, 48, -1}}};
  model.outputs = {{"softmax", "FP32", {-1, -1, classes}}};
  model.class_names = kDictionary;
  return model;
}

absl::Status Planned(const ModelDescription& model, ModelPlan& plan) {
  plan.has_batch_dimension = true;
  return PlanTextLine(FactsOf(model, plan, std::nullopt), plan);
}

TEST(TextLineTest, ThePlanHasTheDictionary) {
  for (const std::int64_t classes : {5, 6, -1}) {
    ModelPlan plan;
    ASSERT_TRUE(Planned(LineModel(classes), plan).ok()) << classes;
    EXPECT_EQ(plan.outputs, std::vector<std::string>{"softmax"});
    EXPECT_EQ(plan.dictionary, kDictionary);
  }
}

TEST(TextLineTest, WhatFitsNoPlanIsRefused) {
  const auto complaint = [](const ModelDescription& model, Scores scores = Scores::kAuto) {
    ModelPlan plan;
    plan.scores = scores;
    const absl::Status status = Planned(model, plan);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  EXPECT_NE(complaint(LineModel(4)).find("4 classes, and the dictionary 4"), std::string::npos);
  EXPECT_NE(complaint(LineModel(7)).find("7 classes"), std::string::npos);
  EXPECT_NE(complaint(LineModel(6), Scores::kMultiLabelLogits).find("scores"), std::string::npos);
  ModelDescription model = LineModel(6);
  model.class_names.clear();
  EXPECT_NE(complaint(model).find("labels.txt"), std::string::npos);
  model = LineModel(6);
  model.outputs[0].shape = {-1, 6};
  EXPECT_NE(complaint(model).find("two dimensions"), std::string::npos);
  model = LineModel(6);
  model.outputs.push_back({"other", "FP32", {-1, -1, 6}});
  EXPECT_NE(complaint(model).find("softmax and other are both tables"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::vision
