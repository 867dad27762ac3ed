#include "worker/predict/wanted.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace inferpool::predict {
namespace {

using http::PredictParameters;
using http::Problem;
using testing::AllOf;
using testing::HasSubstr;

backend::Model ModelOf(std::vector<std::string> class_names,
                       vision::Family family = vision::Family::kYoloV8) {
  ModelDescription description;
  description.name = "things";
  description.class_names = std::move(class_names);
  vision::ModelPlan plan;
  plan.family = family;
  plan.input.size = {320, 320};
  plan.classes = description.class_names.size();
  return {std::move(description), std::move(plan)};
}

const PredictParameters kPlain{
    .confidence = 0.25, .iou = 0.45, .max_detections = 300, .render = {}};

// The detail of the problem; what it should not be when there is none.
std::string Refusal(const std::variant<vision::Options, Problem>& options,
                    const std::string& parameter) {
  const auto* problem = std::get_if<Problem>(&options);
  if (problem == nullptr) return "it was taken";
  EXPECT_EQ(problem->status, 400);
  EXPECT_EQ(problem->parameter, parameter);
  return problem->detail;
}

std::set<int> Classes(const backend::Model& model, const std::string& list) {
  PredictParameters parameters = kPlain;
  parameters.classes = list;
  const auto options = OptionsFor(model, parameters);
  if (const auto* problem = std::get_if<Problem>(&options)) {
    ADD_FAILURE() << list << ": " << problem->detail;
    return {};
  }
  return *std::get<vision::Options>(options).classes;
}

TEST(WantedTest, WhatIsNotAskedForIsNotNarrowed) {
  PredictParameters parameters = kPlain;
  parameters.max_detections = 7;
  const auto options = std::get<vision::Options>(OptionsFor(ModelOf({"cat"}), parameters));
  EXPECT_FALSE(options.classes || options.class_agnostic);
  EXPECT_TRUE(options.class_confidence.empty());
  EXPECT_EQ(options.confidence, 0.25F);
  EXPECT_EQ(options.max_detections, 7U);
}

TEST(WantedTest, ClassesAreNamedOrNumbered) {
  const auto model = ModelOf({"person", "traffic light", "cat", "7", "crane", "crane", ""});
  EXPECT_EQ(Classes(model, "cat"), std::set({2}));
  EXPECT_EQ(Classes(model, "cat,person,cat"), std::set({0, 2}));
  EXPECT_EQ(Classes(model, "traffic light, cat"), std::set({1, 2}));
  EXPECT_EQ(Classes(model, "0,6"), std::set({0, 6}));
  EXPECT_EQ(Classes(model, "7"), std::set({3})) << "a name comes before a number";
  EXPECT_EQ(Classes(model, "crane"), std::set({4, 5})) << "some lists have a name twice";
  EXPECT_EQ(Classes(ModelOf({}), "5,81"), std::set({5, 81}));
}

TEST(WantedTest, ANameMayHaveCommas) {
  const auto model = ModelOf({"tench, Tinca tinca", "tench", "a,b", "b,c", "a"});
  EXPECT_EQ(Classes(model, "tench, Tinca tinca"), std::set({0}));
  EXPECT_EQ(Classes(model, "tench,a"), std::set({1, 4}));
  EXPECT_EQ(Classes(model, "a,tench, Tinca tinca,tench"), std::set({0, 1, 4}));
  EXPECT_EQ(Classes(model, "a,b"), std::set({2})) << "the longest name that fits";
  EXPECT_EQ(Classes(model, "b,c,a"), std::set({3, 4}));
}

TEST(WantedTest, AnUnknownClassIsRefusedWithWhatThereIs) {
  std::vector<std::string> many;
  for (int i = 0; i < 80; ++i) many.push_back("class" + std::to_string(i));
  for (const std::string list :
       {"dog", "class1,dog", "80", "-1", "1.5", "class1,,class2", "Class1"}) {
    PredictParameters parameters = kPlain;
    parameters.classes = list;
    EXPECT_THAT(Refusal(OptionsFor(ModelOf(many), parameters), "classes"),
                AllOf(HasSubstr("class0, class1"), HasSubstr("(80 in all)"), HasSubstr("0 to 79"),
                      HasSubstr("things")))
        << list;
  }
  PredictParameters parameters = kPlain;
  parameters.class_confidence = {{"class3", 0.5}, {"dog", 0.5}};
  EXPECT_THAT(Refusal(OptionsFor(ModelOf(many), parameters), "confidence.dog"),
              HasSubstr("\"dog\", which is no class"));
  parameters = kPlain;
  parameters.classes = std::string(16'000, 'x');
  EXPECT_LT(Refusal(OptionsFor(ModelOf(many), parameters), "classes").size(), 1'000U);
}

TEST(WantedTest, OneOfSeveralModelsPassesOverClassesOfOthers) {
  const auto options = [](const backend::Model& model, const PredictParameters& parameters) {
    return std::get<vision::Options>(OptionsFor(model, parameters, /*one_of_several=*/true));
  };
  PredictParameters parameters = kPlain;
  parameters.classes = "dog,person,x, y,cat";
  parameters.class_confidence = {{"dog", 0.5}, {"cat", 0.75}};
  const auto of_cats = options(ModelOf({"cat", "person"}), parameters);
  EXPECT_EQ(of_cats.classes, (std::set{0, 1}));
  EXPECT_EQ(of_cats.class_confidence, (std::map<int, float>{{0, 0.75F}}));
  EXPECT_EQ(options(ModelOf({"x, y"}), parameters).classes, std::set({0}));
  EXPECT_EQ(options(ModelOf({"sheep"}), parameters).classes, std::set<int>()) << "it finds none";
  const auto of_classifier = options(ModelOf({"dog"}, vision::Family::kClassification), parameters);
  EXPECT_EQ(of_classifier.classes, std::set({0}));
  EXPECT_TRUE(of_classifier.class_confidence.empty());
  EXPECT_FALSE(options(ModelOf({}, vision::Family::kEmbedding), parameters).classes);
}

TEST(WantedTest, AClassThatNoneOfSeveralKnowsIsRefused) {
  const auto shared = [](backend::Model model) {
    return std::make_shared<const backend::Model>(std::move(model));
  };
  const auto cats = shared(ModelOf({"cat", "a,b"}));
  const auto dogs = shared(ModelOf({"dog"}));
  const auto classifier = shared(ModelOf({"bird"}, vision::Family::kClassification));
  const auto embedding = shared(ModelOf({}, vision::Family::kEmbedding));
  const auto check = [](const std::vector<std::shared_ptr<const backend::Model>>& models,
                        const std::string& classes, std::map<std::string, double> thresholds = {}) {
    PredictParameters parameters = kPlain;
    parameters.classes = classes;
    parameters.class_confidence = std::move(thresholds);
    return CheckClasses(models, parameters);
  };
  for (const auto& models : {std::vector{cats, dogs, embedding}, {embedding, dogs, cats}}) {
    EXPECT_FALSE(check(models, ""));
    EXPECT_FALSE(check(models, "cat,dog"));
    EXPECT_FALSE(check(models, "dog,a,b,cat")) << "a,b is one class";
    EXPECT_FALSE(check(models, "", {{"cat", 0.5}, {"dog", 0.5}}));
    for (const std::string list : {"bird", "cat,bird", "bird,dog", "a,c", "cat,,dog"}) {
      EXPECT_EQ(check(models, list).value().parameter, "classes") << list;
    }
    EXPECT_THAT(check(models, "dog,bird").value().detail, HasSubstr("\"bird\""));
    EXPECT_THAT(check(models, "dog,").value().detail, HasSubstr("comma"));
    EXPECT_EQ(check(models, "", {{"cat", 0.5}, {"bird", 0.5}}).value().parameter,
              "confidence.bird");
  }
  EXPECT_FALSE(check({classifier, cats}, "bird,cat"));
  EXPECT_EQ(check({classifier, cats}, "", {{"bird", 0.5}}).value().parameter, "confidence.bird");
  EXPECT_THAT(check({embedding}, "0").value().detail, HasSubstr("leave classes away"));
  EXPECT_FALSE(check({}, "bird")) << "nobody can say";
}

TEST(WantedTest, ThresholdsAreByNameOrNumber) {
  PredictParameters parameters = kPlain;
  parameters.class_confidence = {{"cat", 0.5}, {"0", 0.125}};
  const auto options = std::get<vision::Options>(OptionsFor(ModelOf({"dog", "cat"}), parameters));
  EXPECT_EQ(options.ConfidenceOf(0), 0.125F);
  EXPECT_EQ(options.ConfidenceOf(1), 0.5F);
  EXPECT_EQ(options.LeastConfidence(), 0.125F);
}

TEST(WantedTest, AModelIsNotAskedWhatItCannotAnswer) {
  PredictParameters tiles = kPlain;
  tiles.tiles = http::TileCount();
  PredictParameters classes = kPlain;
  classes.classes = "cat";
  PredictParameters threshold = kPlain;
  threshold.class_confidence = {{"cat", 0.5}};
  PredictParameters roi = kPlain;
  roi.roi = {0, 0, 10, 10};

  const auto classifier = ModelOf({"dog", "cat"}, vision::Family::kClassification);
  EXPECT_EQ(Classes(classifier, "cat"), std::set({1}));
  EXPECT_THAT(Refusal(OptionsFor(classifier, tiles), "tiles"), HasSubstr("leave tiles away"));
  EXPECT_THAT(Refusal(OptionsFor(classifier, threshold), "confidence.cat"), HasSubstr("leave"));
  EXPECT_TRUE(std::holds_alternative<vision::Options>(OptionsFor(classifier, roi)));

  const auto embedding = ModelOf({}, vision::Family::kEmbedding);
  EXPECT_THAT(Refusal(OptionsFor(embedding, classes), "classes"), HasSubstr("no classes"));

  auto of_files = ModelOf({"dog", "cat"});
  of_files.plan->input_kind = vision::InputKind::kFile;
  EXPECT_THAT(Refusal(OptionsFor(of_files, tiles), "tiles"), HasSubstr("file as it is"));
  EXPECT_THAT(Refusal(OptionsFor(of_files, roi), "roi"), HasSubstr("file as it is"));
  EXPECT_TRUE(std::holds_alternative<vision::Options>(OptionsFor(of_files, classes)));
}

std::variant<cv::Rect, Problem> Region(http::Region roi, bool normalized = false) {
  PredictParameters parameters = kPlain;
  parameters.roi = roi;
  parameters.normalized = normalized;
  return RegionOf(parameters, {640, 480});
}

TEST(RegionOfTest, ItHasWholePixelsAndIsClippedToThePicture) {
  EXPECT_EQ(std::get<cv::Rect>(RegionOf(kPlain, {640, 480})), cv::Rect(0, 0, 640, 480));
  EXPECT_EQ(std::get<cv::Rect>(Region({10, 20, 30, 50})), cv::Rect(10, 20, 20, 30));
  EXPECT_EQ(std::get<cv::Rect>(Region({10.7, 20.2, 30.1, 50})), cv::Rect(10, 20, 21, 30));
  EXPECT_EQ(std::get<cv::Rect>(Region({-100, -1, 1e6, 1e6})), cv::Rect(0, 0, 640, 480));
  EXPECT_EQ(std::get<cv::Rect>(Region({639.5, 479.5, 700, 700})), cv::Rect(639, 479, 1, 1));
  EXPECT_EQ(std::get<cv::Rect>(Region({10, 10, 10.0000001, 20})), cv::Rect(10, 10, 1, 10));
  EXPECT_EQ(std::get<cv::Rect>(Region({0.1, 0.2, 0.3, 0.4}, true)), cv::Rect(64, 96, 128, 96));
  EXPECT_EQ(std::get<cv::Rect>(Region({-0.5, 0, 1.5, 0.5}, true)), cv::Rect(0, 0, 640, 240));
  EXPECT_EQ(std::get<cv::Rect>(Region({0, 0, 1, 1}, true)), cv::Rect(0, 0, 640, 480));
}

TEST(RegionOfTest, WhatCannotBeMeantIsRefusedWithWhatToSay) {
  const auto refusal = [](http::Region roi, bool normalized = false) {
    const auto region = Region(roi, normalized);
    const auto* problem = std::get_if<Problem>(&region);
    if (problem == nullptr) return std::string("it was taken");
    EXPECT_EQ(problem->status, 400);
    EXPECT_EQ(problem->parameter, "roi");
    return problem->detail;
  };
  EXPECT_THAT(refusal({0.1, 0.2, 0.3, 0.4}), HasSubstr("say coordinates=normalized"));
  EXPECT_THAT(refusal({0, 0, 1, 1}), HasSubstr("say coordinates=normalized"));
  EXPECT_THAT(refusal({0, 0, 200, 100}, true), HasSubstr("leave coordinates away"));
  EXPECT_THAT(refusal({640, 0, 700, 100}), HasSubstr("640 x 480"));
  EXPECT_THAT(refusal({-50, 0, 0, 100}), HasSubstr("outside"));
  EXPECT_THAT(refusal({1, 0, 1.5, 1}, true), HasSubstr("outside"));
}

TEST(TilesOfTest, TheyAreAsAskedForOrAsThePictureNeeds) {
  const vision::ModelPlan plan = *ModelOf({"cat"}).plan;
  PredictParameters parameters = kPlain;
  const cv::Rect part(0, 0, 1000, 500);
  EXPECT_EQ(TilesOf(parameters, plan, part, 64), (vision::TileGrid{1, 1}));
  parameters.tiles = {5, 2};
  EXPECT_EQ(TilesOf(parameters, plan, part, 64), (vision::TileGrid{5, 2}));
  EXPECT_EQ(TilesOf(parameters, plan, {0, 0, 70, 70}, 64), (vision::TileGrid{2, 2}));
  parameters.tiles = http::TileCount();
  EXPECT_EQ(TilesOf(parameters, plan, part, 64), (vision::TileGrid{3, 2}));
  EXPECT_EQ(TilesOf(parameters, plan, part, 2), (vision::TileGrid{2, 1}));
  EXPECT_EQ(TilesOf(parameters, plan, {0, 0, 300, 300}, 64), (vision::TileGrid{1, 1}));
}

}  // namespace
}  // namespace inferpool::predict
