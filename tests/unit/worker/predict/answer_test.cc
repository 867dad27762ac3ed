#include "worker/predict/answer.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::predict {
namespace {

using test::ParseJson;

Prediction Make(vision::Result result, std::vector<std::string> class_names = {}) {
  backend::Model model{.description = {}, .plan = vision::ModelPlan{}};
  model.description.name = "faces";
  model.description.class_names = std::move(class_names);
  return {.model = std::make_shared<const backend::Model>(std::move(model)),
          .version = "3",
          .picture = {640, 480},
          .pixels = {},
          .result = std::move(result)};
}

Json::Value Answer(vision::Result result, std::vector<std::string> class_names = {},
                   bool normalized = false) {
  return ParseJson(
      Complete(Members(Make(std::move(result), std::move(class_names)), normalized), {}, "id-1"));
}

const vision::Detections kTwo = {
    {.x1 = 64, .y1 = 48, .x2 = 320, .y2 = 240.5, .confidence = 0.9F, .class_id = 1},
    {.x1 = 0, .y1 = 0, .x2 = 640, .y2 = 480, .confidence = 0.25, .class_id = 0}};

TEST(AnswerTest, NamesModelPictureTimesAndRequest) {
  http::StageTimes timings;
  timings.Set(Stage::kDecode, std::chrono::microseconds(1'500));
  const Json::Value json = ParseJson(Complete(Members(Make(kTwo), false), timings, "id-1"));
  EXPECT_EQ(json["model"]["name"], "faces");
  EXPECT_EQ(json["model"]["version"], "3");
  EXPECT_EQ(json["image"]["width"], 640);
  EXPECT_EQ(json["image"]["height"], 480);
  EXPECT_DOUBLE_EQ(json["timing_ms"]["decode"].asDouble(), 1.5);
  EXPECT_EQ(json["timing_ms"].size(), kStages);
  EXPECT_EQ(json["request_id"], "id-1");
  EXPECT_EQ(json.size(), 5U) << "and detections, nothing else";
}

TEST(AnswerTest, APipelinesDetectionsHaveWhatItsStepsFound) {
  Prediction prediction = Make(kTwo, {"cat", "car"});
  backend::Model plates{.description = {}, .plan = vision::ModelPlan{}};
  plates.description.class_names = {"plate"};
  const auto plate = std::make_shared<const backend::Model>(std::move(plates));
  Found line{.step = "text_line",
             .model = plate,
             .turned = 180,
             .result = vision::TextLines{{.text = "AB 12", .confidence = 0.5F}}};
  Found found{.step = "plate",
              .model = plate,
              .result = vision::Detections{{.x1 = 64, .y1 = 48, .x2 = 96, .y2 = 72}},
              .found = {{line}}};
  prediction.pipeline = PipelineAnswer{
      .name = "plates", .steps = {{"cars", "3"}, {"plate", "1"}}, .found = {{found, line}}};
  const Json::Value json = ParseJson(Complete(Members(prediction, true), {}, "id-1"));
  EXPECT_EQ(json["model"]["name"], "plates");
  EXPECT_EQ(json["model"]["version"], "");
  EXPECT_EQ(json["model"]["steps"][1]["name"], "plate");
  EXPECT_EQ(json["model"]["steps"][0]["version"], "3");
  const Json::Value& first = json["detections"][0];
  EXPECT_EQ(first["class_name"], "car");
  const Json::Value& inner = first["found"]["plate"]["detections"][0];
  EXPECT_DOUBLE_EQ(inner["box"]["x1"].asDouble(), 0.1) << "of the whole picture";
  EXPECT_EQ(inner["class_name"], "plate");
  EXPECT_EQ(inner["found"]["text_line"]["texts"][0]["text"], "AB 12");
  EXPECT_EQ(inner["found"]["text_line"]["turned"], 180);
  EXPECT_EQ(first["found"]["text_line"]["texts"].size(), 1U);
  EXPECT_FALSE(json["detections"][1].isMember("found"));
}

TEST(AnswerTest, DetectionsKeepTheirOrderAndHaveBoxesInPixels) {
  const Json::Value json = Answer(kTwo, {"cat", "dog"});
  ASSERT_EQ(json["detections"].size(), 2U);
  const Json::Value& first = json["detections"][0];
  EXPECT_DOUBLE_EQ(first["box"]["x1"].asDouble(), 64);
  EXPECT_DOUBLE_EQ(first["box"]["y1"].asDouble(), 48);
  EXPECT_DOUBLE_EQ(first["box"]["x2"].asDouble(), 320);
  EXPECT_DOUBLE_EQ(first["box"]["y2"].asDouble(), 240.5);
  EXPECT_NEAR(first["confidence"].asDouble(), 0.9, 1e-4);
  EXPECT_EQ(first["class_id"], 1);
  EXPECT_EQ(first["class_name"], "dog");
  EXPECT_EQ(json["detections"][1]["class_name"], "cat");
  EXPECT_EQ(first.size(), 4U);
  EXPECT_EQ(first["box"].size(), 4U);
}

TEST(AnswerTest, NormalizedBoxesAreSharesOfThePicture) {
  const Json::Value json = Answer(kTwo, {}, /*normalized=*/true);
  const Json::Value& box = json["detections"][0]["box"];
  EXPECT_NEAR(box["x1"].asDouble(), 0.1, 1e-6);
  EXPECT_NEAR(box["y1"].asDouble(), 0.1, 1e-6);
  EXPECT_NEAR(box["x2"].asDouble(), 0.5, 1e-6);
  EXPECT_NEAR(box["y2"].asDouble(), 240.5 / 480, 1e-6);
  EXPECT_DOUBLE_EQ(json["detections"][1]["box"]["x2"].asDouble(), 1);
  EXPECT_EQ(json["image"]["width"], 640) << "the picture's size stays in pixels";
}

TEST(AnswerTest, ALineOfTextIsItsTextAndConfidence) {
  const Json::Value json = Answer(vision::TextLines{{"say \"caf\u00e9\"", 0.975F}}, {"a", "b"});
  ASSERT_EQ(json["texts"].size(), 1U);
  EXPECT_EQ(json["texts"][0]["text"], "say \"caf\u00e9\"");
  EXPECT_NEAR(json["texts"][0]["confidence"].asDouble(), 0.975, 1e-4);
  EXPECT_EQ(json["texts"][0].size(), 2U);
  EXPECT_FALSE(json.isMember("detections"));
}

TEST(AnswerTest, ADetectionHasWhatItsFamilyGives) {
  vision::Detection found = kTwo[0];
  found.corners = {{64, 48}, {320, 48}, {320, 240}, {-16, 240}};
  found.keypoints = {{.x = 100, .y = 120, .confidence = 0.5F}, {.x = 320, .y = 240}};
  found.mask = {{{64, 48}, {128, 48}, {64, 96}}, {{320, 240}, {310, 240}, {320, 230}}};
  found.text = "a \"b\"";
  for (const bool normalized : {false, true}) {
    const Json::Value json = Answer(vision::Detections{found}, {}, normalized)["detections"][0];
    const double width = normalized ? 640 : 1;
    const double height = normalized ? 480 : 1;
    EXPECT_EQ(json.size(), 8U);
    ASSERT_EQ(json["corners"].size(), 4U);
    EXPECT_NEAR(json["corners"][1][0].asDouble(), 320 / width, 1e-6);
    EXPECT_NEAR(json["corners"][3][0].asDouble(), -16 / width, 1e-6);
    EXPECT_NEAR(json["corners"][3][1].asDouble(), 240 / height, 1e-6);
    ASSERT_EQ(json["keypoints"].size(), 2U);
    EXPECT_NEAR(json["keypoints"][0]["x"].asDouble(), 100 / width, 1e-6);
    EXPECT_NEAR(json["keypoints"][0]["y"].asDouble(), 120 / height, 1e-6);
    EXPECT_DOUBLE_EQ(json["keypoints"][0]["confidence"].asDouble(), 0.5);
    ASSERT_EQ(json["mask"].size(), 2U);
    EXPECT_EQ(json["mask"][0].size(), 3U);
    EXPECT_NEAR(json["mask"][1][2][1].asDouble(), 230 / height, 1e-6);
    EXPECT_EQ(json["text"], "a \"b\"");
  }
}

TEST(AnswerTest, AnEmptyTextIsATextToo) {
  vision::Detection found = kTwo[0];
  found.text = "";
  EXPECT_EQ(Answer(vision::Detections{found})["detections"][0]["text"], "");
}

TEST(AnswerTest, NothingFoundIsAnEmptyList) {
  const Json::Value json = Answer(vision::Detections{});
  EXPECT_TRUE(json["detections"].isArray());
  EXPECT_EQ(json["detections"].size(), 0U);
}

TEST(AnswerTest, ManyDetectionsAreAllThere) {
  EXPECT_EQ(Answer(vision::Detections(2'000, kTwo[0]))["detections"].size(), 2'000U);
}

TEST(AnswerTest, AClassWithoutANameIsNamedByItsNumber) {
  const Json::Value json = Answer(kTwo, {"only the first"});
  EXPECT_EQ(json["detections"][0]["class_name"], "1");
  EXPECT_EQ(json["detections"][1]["class_name"], "only the first");
  EXPECT_EQ(Answer(kTwo, {"cat", ""})["detections"][0]["class_name"], "1");
}

TEST(AnswerTest, HostileClassNamesStayText) {
  for (const std::string name :
       {"\"}],\"x\":[{\"", "\\", "a\nb", "</script>", "{0}", "\x01", "\xe2\x82\xac"}) {
    EXPECT_EQ(Answer(kTwo, {name, name})["detections"][0]["class_name"], name);
  }
  EXPECT_TRUE(Answer(kTwo, {"\xff\xfe", "\x80z"})["detections"][0]["class_name"].isString());
}

TEST(AnswerTest, HostileModelVersionAndRequestIdStayText) {
  Prediction prediction = Make(kTwo);
  backend::Model model = *prediction.model;
  model.description.name = "\"faces\\";
  prediction.model = std::make_shared<const backend::Model>(model);
  prediction.version = "\"1\"";
  const Json::Value json = ParseJson(Complete(Members(prediction, false), {}, "\"id\""));
  EXPECT_EQ(json["model"]["name"], "\"faces\\");
  EXPECT_EQ(json["model"]["version"], "\"1\"");
  EXPECT_EQ(json["request_id"], "\"id\"");
}

TEST(AnswerTest, AClassificationHasItsClassesInOrder) {
  const Json::Value json = Answer(vision::Classification{{{.class_id = 2, .confidence = 0.75F},
                                                          {.class_id = 0, .confidence = 0.125F}}},
                                  {"cat", "dog", "cow"});
  ASSERT_EQ(json["classes"].size(), 2U);
  EXPECT_EQ(json["classes"][0]["class_name"], "cow");
  EXPECT_EQ(json["classes"][0]["class_id"], 2);
  EXPECT_NEAR(json["classes"][0]["confidence"].asDouble(), 0.75, 1e-4);
  EXPECT_EQ(json["classes"][1]["class_name"], "cat");
  EXPECT_FALSE(json.isMember("detections"));
  EXPECT_EQ(Answer(vision::Classification{})["classes"].size(), 0U);
}

TEST(AnswerTest, AnEmbeddingKeepsEveryBitOfItsValues) {
  const std::vector<float> values = {0.1F,
                                     -1.5e-30F,
                                     3.4e38F,
                                     0,
                                     1.0F / 3,
                                     std::numeric_limits<float>::min(),
                                     std::numeric_limits<float>::denorm_min(),
                                     16'777'216};
  const Json::Value json = Answer(vision::Embedding{values});
  ASSERT_EQ(json["embedding"].size(), values.size());
  for (Json::ArrayIndex i = 0; i < json["embedding"].size(); ++i) {
    EXPECT_EQ(static_cast<float>(json["embedding"][i].asDouble()), values[i]) << i;
  }
  EXPECT_FALSE(json.isMember("detections"));
}

TEST(AnswerTest, MembersStandInTheDocumentedOrder) {
  const std::string text = Complete(Members(Make(kTwo), false), {}, "id");
  std::size_t at = 0;
  for (const char* member :
       {"\"model\"", "\"name\"", "\"version\"", "\"image\"", "\"width\"", "\"height\"",
        "\"detections\"", "\"box\"", "\"x1\"", "\"y1\"", "\"x2\"", "\"y2\"", "\"confidence\"",
        "\"class_id\"", "\"class_name\"", "\"timing_ms\"", "\"request_id\""}) {
    const std::size_t found = text.find(member, at);
    ASSERT_NE(found, std::string::npos) << member;
    at = found;
  }
}

}  // namespace
}  // namespace inferpool::predict
