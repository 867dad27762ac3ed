#include "worker/vision/families/classification.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/shared/pictures/data.h"
#include "tests/unit/worker/vision/families/answers.h"

namespace inferpool::vision {
namespace {

ModelPlan OneOutput(const std::string& name) {
  ModelPlan plan;
  plan.family = Family::kClassification;
  plan.outputs = {name};
  return plan;
}

TEST(ClassificationTest, AgreesWithNumpyForLogitsAndForProbabilities) {
  const Json::Value answers = ReadJson("answers.json");
  for (const char* name : {"classification", "classification_probabilities"}) {
    SCOPED_TRACE(name);
    Answer answer = AnswerOf(answers[name]);
    const auto result = Classify(OneOutput("output0"), answer.views(), {});
    ASSERT_TRUE(result.ok()) << result.status();
    const Json::Value& expected = answers[name]["expected"];
    ASSERT_EQ(result->scores.size(), 5U);
    for (Json::ArrayIndex i = 0; i < 5; ++i) {
      EXPECT_EQ(result->scores[i].class_id, expected[i][0].asInt());
      EXPECT_NEAR(result->scores[i].confidence, expected[i][1].asDouble(), 1e-6);
    }
  }
}

TEST(ClassificationTest, ThePlanMayForbidOrForceSoftmax) {
  Answer answer;
  answer.Add("scores", "FP32", {1, 2}, {0.9F, 0.8F});
  ModelPlan plan = OneOutput("scores");
  plan.scores = Scores::kProbabilities;
  EXPECT_FLOAT_EQ(Classify(plan, answer.views(), {})->scores[0].confidence, 0.9F);
  plan.scores = Scores::kLogits;
  EXPECT_NEAR(Classify(plan, answer.views(), {})->scores[0].confidence, 0.52497919, 1e-6);
  plan.scores = Scores::kMultiLabelLogits;
  EXPECT_NEAR(Classify(plan, answer.views(), {})->scores[0].confidence, 0.71094950, 1e-6);
}

absl::Status StatusOf(const std::vector<float>& values, Scores scores = Scores::kAuto) {
  Answer answer;
  answer.Add("scores", "FP32", {1, static_cast<std::int64_t>(values.size())}, values);
  ModelPlan plan = OneOutput("scores");
  plan.scores = scores;
  return Classify(plan, answer.views(), {}).status();
}

TEST(ClassificationTest, WhereNothingTellsTheOperatorHasToSay) {
  for (const std::vector<float>& values : {std::vector<float>{0.9F, 0.3F, 0.6F},
                                           {0.9F, 0.8F},
                                           {4.5F, 80, 12.5F, 3},
                                           {4.5F, 80, 60},  // several labels, each in percent
                                           {0, 30.5F},
                                           {-3},
                                           {7}}) {
    const absl::Status status = StatusOf(values);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << values[0];
    EXPECT_NE(status.ToString().find("set the parameter \"scores\" in config.pbtxt"),
              std::string::npos);
  }
  EXPECT_TRUE(StatusOf({2, -3, 0.5F}).ok());
  EXPECT_TRUE(StatusOf({30, 2, 0.5F}).ok()) << "logits that happen to be positive";
  EXPECT_TRUE(StatusOf({101, 2, 0.5F}).ok());
  EXPECT_TRUE(StatusOf({0.9F, 0.3F, 0.6F}, Scores::kProbabilities).ok());
}

TEST(ClassificationTest, LogitsOfNoKnownClassesMayBeAnything) {
  Answer answer;
  answer.Add("output", "FP32", {1, 3}, {12, -3, 40});
  ModelPlan plan = OneOutput("output");
  EXPECT_TRUE(Classify(plan, answer.views(), {}).ok());
  plan.told_by_shape = true;
  EXPECT_EQ(Classify(plan, answer.views(), {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  Answer probabilities;
  probabilities.Add("output", "FP32", {1, 3}, {0.5F, 0.25F, 0.25F});
  EXPECT_TRUE(Classify(plan, probabilities.views(), {}).ok());
}

TEST(ClassificationTest, ProbabilitiesAreNotAboveOne) {
  EXPECT_EQ(StatusOf({4.5F, 80, 12.5F, 3}, Scores::kProbabilities).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(StatusOf({-2, 0.5F}, Scores::kProbabilities).code(),
            absl::StatusCode::kFailedPrecondition);
  Answer answer;
  answer.Add("scores", "FP32", {2}, {1.0005F, -0.0005F});
  ModelPlan plan = OneOutput("scores");
  plan.scores = Scores::kProbabilities;
  const auto rounded = Classify(plan, answer.views(), {.top_k = 2});
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  EXPECT_EQ(rounded->scores[0].confidence, 1);
  EXPECT_EQ(rounded->scores[1].confidence, 0);
}

TEST(ClassificationTest, OneProbabilityIsWhatItIs) {
  Answer answer;
  answer.Add("probability", "FP32", {1, 1}, {0.2F});
  ModelPlan plan = OneOutput("probability");
  EXPECT_EQ(Classify(plan, answer.views(), {})->scores[0].confidence, 0.2F);
  plan.scores = Scores::kLogits;
  EXPECT_NEAR(Classify(plan, answer.views(), {})->scores[0].confidence, 0.54983400, 1e-6);
}

TEST(ClassificationTest, AClassThatIsCertainIsAProbability) {
  Answer answer;
  answer.Add("scores", "FP32", {3}, {0, 1, 0});
  const auto result = Classify(OneOutput("scores"), answer.views(), {.top_k = 3});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->scores[0].class_id, 1);
  EXPECT_EQ(result->scores[0].confidence, 1);
  EXPECT_EQ(result->scores[1].confidence, 0);
}

TEST(ClassificationTest, HugeLogitsDoNotOverflow) {
  Answer answer;
  answer.Add("scores", "FP32", {3}, {3e38F, 3e38F, -3e38F});
  const auto result = Classify(OneOutput("scores"), answer.views(), {});
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->scores.size(), 3U);
  EXPECT_EQ(result->scores[0].class_id, 0);
  EXPECT_FLOAT_EQ(result->scores[0].confidence, 0.5F);
  EXPECT_EQ(result->scores[2].confidence, 0);
}

TEST(ClassificationTest, WhatIsNoNumberIsAnInternalError) {
  for (const float odd :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(StatusOf({1, odd, 2}).code(), absl::StatusCode::kInternal);
  }
}

TEST(ClassificationTest, AnotherNumberOfClassesThanPlannedIsAnInternalError) {
  Answer answer;
  answer.Add("scores", "FP32", {1, 3}, {1, 2, 3});
  ModelPlan plan = OneOutput("scores");
  plan.classes = 4;
  EXPECT_EQ(Classify(plan, answer.views(), {}).status().code(), absl::StatusCode::kInternal);
  plan.classes = 3;
  EXPECT_EQ(Classify(plan, answer.views(), {.top_k = 0})->scores.size(), 0U);
}

TEST(ClassificationTest, AnEmbeddingIsGivenAsItIs) {
  const Json::Value known = ReadJson("answers.json")["embedding"];
  Answer answer = AnswerOf(known);
  const auto embedding = Embed(OneOutput("embedding"), answer.views());
  ASSERT_TRUE(embedding.ok()) << embedding.status();
  ASSERT_EQ(embedding->values.size(), known["expected"].size());
  for (Json::ArrayIndex i = 0; i < known["expected"].size(); ++i) {
    EXPECT_EQ(embedding->values[i], known["expected"][i].asFloat());
  }
}

TEST(ClassificationTest, AnEmbeddingThatIsNotFiniteIsAnInternalError) {
  Answer answer;
  answer.Add("embedding", "FP32", {2}, {1, std::numeric_limits<float>::infinity()});
  EXPECT_EQ(Embed(OneOutput("embedding"), answer.views()).status().code(),
            absl::StatusCode::kInternal);
  Answer empty;
  empty.Add("embedding", "FP32", {0}, {});
  EXPECT_EQ(Embed(OneOutput("embedding"), empty.views()).status().code(),
            absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace inferpool::vision
