#include "worker/vision/postprocess.h"

#include <gtest/gtest.h>

#include <limits>
#include <list>
#include <string>
#include <variant>
#include <vector>

#include "tests/unit/shared/pictures/data.h"
#include "tests/unit/worker/vision/families/answers.h"

namespace inferpool::vision {
namespace {

class PostprocessTest : public testing::Test {
 protected:
  PostprocessTest() {
    const Json::Value& given = answers_["options"];
    options_.confidence = given["confidence"].asFloat();
    options_.iou = given["iou"].asFloat();
    options_.max_detections = given["max_detections"].asUInt();
    InputLayout layout;
    layout.size = {given["input"][0].asInt(), given["input"][1].asInt()};
    placement_ = Place(layout, {given["picture"][0].asInt(), given["picture"][1].asInt()});
  }

  static ModelPlan PlanFor(Family family, const Answer& answer) {
    ModelPlan plan;
    plan.family = family;
    for (const TensorView& view : answer.views()) {
      plan.outputs.emplace_back(view.name);
    }
    return plan;
  }

  void ExpectKnown(const std::string& name, Family family, float tolerance,
                   bool normalized = false) {
    SCOPED_TRACE(name);
    Answer answer = AnswerOf(answers_[name]);
    ModelPlan plan = PlanFor(family, answer);
    plan.normalized_boxes = normalized;
    const auto result = Postprocess(plan, answer.views(), placement_, options_);
    ASSERT_TRUE(result.ok()) << result.status();
    const auto& detections = std::get<Detections>(*result);
    const Json::Value& expected = answers_[name]["expected"];
    ASSERT_EQ(detections.size(), expected.size());
    for (Json::ArrayIndex i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(detections[i].x1, expected[i][0].asFloat(), tolerance);
      EXPECT_NEAR(detections[i].y1, expected[i][1].asFloat(), tolerance);
      EXPECT_NEAR(detections[i].x2, expected[i][2].asFloat(), tolerance);
      EXPECT_NEAR(detections[i].y2, expected[i][3].asFloat(), tolerance);
      EXPECT_NEAR(detections[i].confidence, expected[i][4].asFloat(), 1e-6);
      EXPECT_EQ(detections[i].class_id, expected[i][5].asInt());
    }
  }

  Json::Value answers_ = ReadJson("answers.json");
  Options options_;
  Placement placement_;
};

TEST_F(PostprocessTest, AgreesWithNumpyForEveryDetectorFamily) {
  ExpectKnown("yolov8", Family::kYoloV8, 1e-4F);
  ExpectKnown("yolov8_half", Family::kYoloV8, 1e-4F);
  ExpectKnown("yolov5", Family::kYoloV5, 1e-4F);
  ExpectKnown("end_to_end", Family::kEndToEnd, 1e-4F);
  ExpectKnown("end_to_end_float_classes", Family::kEndToEnd, 1e-4F);
  ExpectKnown("nms_free", Family::kNmsFree, 1e-4F);
  ExpectKnown("nms_free_normalized", Family::kNmsFree, 1e-4F, /*normalized=*/true);
}

TEST_F(PostprocessTest, ClassificationAndEmbeddingGiveTheirOwnResults) {
  Answer scores = AnswerOf(answers_["classification"]);
  const auto classes =
      Postprocess(PlanFor(Family::kClassification, scores), scores.views(), placement_, options_);
  ASSERT_TRUE(classes.ok());
  EXPECT_TRUE(std::holds_alternative<Classification>(*classes));
  Answer vector = AnswerOf(answers_["embedding"]);
  const auto embedding =
      Postprocess(PlanFor(Family::kEmbedding, vector), vector.views(), placement_, options_);
  ASSERT_TRUE(embedding.ok());
  EXPECT_TRUE(std::holds_alternative<Embedding>(*embedding));
}

TEST_F(PostprocessTest, BoxesAreClippedAndThoseWithoutAreaDropped) {
  Answer answer;
  answer.Add("output0", "FP32", {1, 3, 6},
             {-50, -50, 500, 500, 0.5F, 1,  // larger than the input: the whole picture
              10, 10, 10, 30, 0.9F, 1,      // no width
              10, 0, 30, 5, 0.9F, 1});      // in the padding above the picture
  const auto result =
      Postprocess(PlanFor(Family::kNmsFree, answer), answer.views(), placement_, options_);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto& detections = std::get<Detections>(*result);
  ASSERT_EQ(detections.size(), 1U);
  EXPECT_EQ(detections[0].x1, 0);
  EXPECT_EQ(detections[0].y1, 0);
  EXPECT_EQ(detections[0].x2, 100);
  EXPECT_EQ(detections[0].y2, 60);
}

TEST_F(PostprocessTest, BoxesThatAreNoneSpoilTheAnswer) {
  const auto code = [this](std::vector<float> box, bool normalized = false) {
    box.insert(box.end(), {0.9F, 1});
    Answer answer;
    answer.Add("output0", "FP32", {1, 6}, box);
    ModelPlan plan = PlanFor(Family::kNmsFree, answer);
    plan.normalized_boxes = normalized;
    return Postprocess(plan, answer.views(), placement_, options_).status().code();
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(code({10, 10, 30, 40}), absl::StatusCode::kOk);
  EXPECT_EQ(code({nan, 10, 20, 30}), absl::StatusCode::kInternal);
  EXPECT_EQ(code({10, 10, inf, 30}), absl::StatusCode::kInternal);
  EXPECT_EQ(code({30, 30, 20, 40}), absl::StatusCode::kFailedPrecondition) << "corners swapped";
  EXPECT_EQ(code({0.1F, 0.2F, 0.5F, 0.9F}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({0.1F, 0.2F, 0.5F, 0.9F}, true), absl::StatusCode::kOk);
  EXPECT_EQ(code({10, 10, 30, 40}, true), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({10, 10, 3000, 4000}), absl::StatusCode::kFailedPrecondition);
}

TEST_F(PostprocessTest, AMisfitSaysWhatToSet) {
  Answer answer;
  answer.Add("output0", "FP32", {1, 6}, {10, 10, 30, 40, 17, 1});
  const absl::Status status =
      Postprocess(PlanFor(Family::kNmsFree, answer), answer.views(), placement_, options_).status();
  EXPECT_EQ(
      std::string(status.message()),
      "the model's output output0 has the score 17, and scores are 0 to 1; so its outputs are "
      "not what family nms_free reads: set the parameter \"family\" in config.pbtxt to what "
      "they are (docs/models.md has the families)");
}

TEST_F(PostprocessTest, DuplicatesOfFinishedBoxesAreKeptAndTheLimitHolds) {
  Answer answer;
  answer.Add("output0", "FP32", {3, 6},
             {10, 20, 30, 40, 0.5F, 1, 10, 20, 30, 40, 0.7F, 1, 10, 20, 30, 40, 0.6F, 1});
  options_.max_detections = 2;
  const auto result =
      Postprocess(PlanFor(Family::kNmsFree, answer), answer.views(), placement_, options_);
  ASSERT_TRUE(result.ok());
  const auto& detections = std::get<Detections>(*result);
  ASSERT_EQ(detections.size(), 2U);
  EXPECT_EQ(detections[0].confidence, 0.7F);
  EXPECT_EQ(detections[1].confidence, 0.6F);
}

TEST_F(PostprocessTest, AnAnswerOfTheWrongShapeIsAnInternalError) {
  for (const auto& known_family : {std::pair{"yolov8", Family::kYoloV8},
                                   {"yolov5", Family::kYoloV5},
                                   {"end_to_end", Family::kEndToEnd},
                                   {"nms_free", Family::kNmsFree},
                                   {"classification", Family::kClassification},
                                   {"embedding", Family::kEmbedding}}) {
    const std::string name = known_family.first;
    SCOPED_TRACE(name);
    const Answer known = AnswerOf(answers_[name]);
    const ModelPlan plan = PlanFor(known_family.second, known);
    const auto code = [&](auto spoil) {
      Answer answer = AnswerOf(answers_[name]);
      for (TensorView& view : answer.views()) {
        spoil(view);
      }
      return Postprocess(plan, answer.views(), placement_, options_).status().code();
    };
    EXPECT_EQ(code([](TensorView&) {}), absl::StatusCode::kOk);
    EXPECT_EQ(code([](TensorView& view) { view.name = "x"; }), absl::StatusCode::kInternal);
    EXPECT_EQ(code([](TensorView& view) { view.datatype = inference::TYPE_STRING; }),
              absl::StatusCode::kInternal);
    EXPECT_EQ(code([](TensorView& view) { view.data = view.data.subspan(1); }),
              absl::StatusCode::kInternal);
    const auto code_of_shape = [&](auto spoil) {
      std::list<std::vector<std::int64_t>> shapes;
      return code([&](TensorView& view) {
        std::vector<std::int64_t>& shape =
            shapes.emplace_back(view.shape.begin(), view.shape.end());
        spoil(shape);
        view.shape = shape;
      });
    };
    EXPECT_EQ(code_of_shape([](auto& shape) { shape.insert(shape.begin(), 2); }),
              absl::StatusCode::kInternal);
    EXPECT_EQ(code_of_shape([](auto& shape) { shape.back() *= -1; }), absl::StatusCode::kInternal);
    EXPECT_EQ(code_of_shape([](auto& shape) {
                shape = {std::numeric_limits<std::int64_t>::max(), 2};
              }),
              absl::StatusCode::kInternal);
    EXPECT_EQ(code_of_shape([](auto& shape) { shape = {2, 2, 2}; }), absl::StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace inferpool::vision
