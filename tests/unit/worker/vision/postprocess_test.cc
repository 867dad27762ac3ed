#include "worker/vision/postprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>
#include <list>
#include <set>
#include <string>
#include <utility>
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

  Detections Found(const std::string& name, Family family, const Options& options) {
    Answer answer = AnswerOf(answers_[name]);
    const auto result = Postprocess(PlanFor(family, answer), answer.views(), placement_, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? std::get<Detections>(*result) : Detections();
  }

  static void ExpectSame(const Detections& found, const Detections& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found[i].confidence, expected[i].confidence);
      EXPECT_EQ(found[i].class_id, expected[i].class_id);
      EXPECT_EQ(found[i].x1, expected[i].x1);
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

TEST_F(PostprocessTest, OnlyWantedThingsAreFoundAndCount) {
  options_.max_detections = 1000;
  for (const auto& [name, family] :
       {std::pair("yolov8", Family::kYoloV8), std::pair("yolov5", Family::kYoloV5),
        std::pair("end_to_end", Family::kEndToEnd), std::pair("nms_free", Family::kNmsFree)}) {
    SCOPED_TRACE(name);
    const Detections all = Found(name, family, options_);
    ASSERT_GT(all.size(), 4U);
    const int wanted = all[1].class_id;
    const auto of_class = [&](const Detection& one) { return one.class_id == wanted; };

    Options of_one = options_;
    of_one.classes = {wanted};
    Detections expected;
    std::ranges::copy_if(all, std::back_inserter(expected), of_class);
    ExpectSame(Found(name, family, of_one), expected);
    of_one.max_detections = 1;
    expected.resize(1);
    ExpectSame(Found(name, family, of_one), expected);

    // A threshold above, and one below the others'.
    Options stricter = options_;
    stricter.class_confidence[wanted] = all[1].confidence;
    expected.clear();
    std::ranges::copy_if(all, std::back_inserter(expected), [&](const Detection& one) {
      return !of_class(one) || one.confidence > all[1].confidence;
    });
    ExpectSame(Found(name, family, stricter), expected);

    Options higher = options_;
    higher.confidence = 0.6F;
    higher.class_confidence[wanted] = options_.confidence;
    expected.clear();
    std::ranges::copy_if(all, std::back_inserter(expected), [&](const Detection& one) {
      return of_class(one) || one.confidence > 0.6F;
    });
    ExpectSame(Found(name, family, higher), expected);
  }
}

TEST_F(PostprocessTest, BoxesOfOtherClassesSuppressEachOtherWhereThatIsWanted) {
  Answer answer;
  answer.Add("output0", "FP32", {1, 4, 6},
             {10, 20, 30, 40, 0.9F, 1,  //
              10, 20, 30, 40, 0.8F, 2,  // the same as something else
              10, 20, 30, 41, 0.7F, 1,  // what the net itself has left
              40, 20, 50, 40, 0.6F, 2});
  const auto count = [&](bool agnostic) {
    options_.class_agnostic = agnostic;
    const auto result =
        Postprocess(PlanFor(Family::kNmsFree, answer), answer.views(), placement_, options_);
    return result.ok() ? std::get<Detections>(*result).size() : 999U;
  };
  EXPECT_EQ(count(false), 4U);
  EXPECT_EQ(count(true), 3U);
  const Detections yolo = Found("yolov8", Family::kYoloV8, options_);
  for (std::size_t i = 0; i < yolo.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const float width = std::min(yolo[i].x2, yolo[j].x2) - std::max(yolo[i].x1, yolo[j].x1);
      const float height = std::min(yolo[i].y2, yolo[j].y2) - std::max(yolo[i].y1, yolo[j].y1);
      const auto area = [](const Detection& of) { return (of.x2 - of.x1) * (of.y2 - of.y1); };
      const float shared = std::max(0.0F, width) * std::max(0.0F, height);
      // Boxes are suppressed before they are clipped.
      EXPECT_LE(shared / (area(yolo[i]) + area(yolo[j]) - shared), 0.6F);
    }
  }
}

TEST_F(PostprocessTest, OfAClassificationOnlyTheWantedClassesAreTold) {
  Answer scores = AnswerOf(answers_["classification"]);
  const ModelPlan plan = PlanFor(Family::kClassification, scores);
  options_.classes = {1, 3, 1000};
  options_.class_confidence[1] = 1;  // of detections
  const auto result = Postprocess(plan, scores.views(), placement_, options_);
  ASSERT_TRUE(result.ok());
  const auto& told = std::get<Classification>(*result).scores;
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(std::set({told[0].class_id, told[1].class_id}), std::set({1, 3}));
  EXPECT_GE(told[0].confidence, told[1].confidence);
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
