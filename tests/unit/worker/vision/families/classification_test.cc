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
    const auto result = Classify(OneOutput("output0"), answer.views(), 5);
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
  EXPECT_FLOAT_EQ(Classify(plan, answer.views(), 5)->scores[0].confidence, 0.9F);
  plan.scores = Scores::kLogits;
  EXPECT_NEAR(Classify(plan, answer.views(), 5)->scores[0].confidence, 0.52497919, 1e-6);
  plan.scores = Scores::kAuto;
  EXPECT_NEAR(Classify(plan, answer.views(), 5)->scores[0].confidence, 0.52497919, 1e-6);
}

TEST(ClassificationTest, AClassThatIsCertainIsAProbability) {
  Answer answer;
  answer.Add("scores", "FP32", {3}, {0, 1, 0});
  const auto result = Classify(OneOutput("scores"), answer.views(), 3);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->scores[0].class_id, 1);
  EXPECT_EQ(result->scores[0].confidence, 1);
  EXPECT_EQ(result->scores[1].confidence, 0);
}

TEST(ClassificationTest, HugeLogitsDoNotOverflowAndOthersThanNumbersAreDropped) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Answer answer;
  answer.Add("scores", "FP32", {4}, {nan, 3e38F, 3e38F, -3e38F});
  const auto result = Classify(OneOutput("scores"), answer.views(), 5);
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->scores.size(), 3U);
  EXPECT_EQ(result->scores[0].class_id, 1);
  EXPECT_FLOAT_EQ(result->scores[0].confidence, 0.5F);
  EXPECT_EQ(result->scores[2].confidence, 0);
}

TEST(ClassificationTest, AnotherNumberOfClassesThanPlannedIsAnInternalError) {
  Answer answer;
  answer.Add("scores", "FP32", {1, 3}, {1, 2, 3});
  ModelPlan plan = OneOutput("scores");
  plan.classes = 4;
  EXPECT_EQ(Classify(plan, answer.views(), 5).status().code(), absl::StatusCode::kInternal);
  plan.classes = 3;
  EXPECT_EQ(Classify(plan, answer.views(), 0)->scores.size(), 0U);
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
