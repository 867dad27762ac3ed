#include "worker/predict/models.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::predict {
namespace {

using test::ParseJson;

backend::Model Faces() {
  vision::ModelPlan plan;
  plan.family = vision::Family::kEndToEnd;
  return {.description = {.name = "faces",
                          .version = "2",
                          .max_batch_size = 8,
                          .inputs = {{"picture", "UINT8", {-1, -1, 3}}},
                          .outputs = {{"num_dets", "INT32", {1}}, {"det_boxes", "FP32", {-1, 4}}},
                          .class_names = {"face", "other"},
                          .parameters = {}},
          .plan = plan};
}

TEST(ModelsTest, AModelIsDescribed) {
  const Json::Value json = ParseJson(ToJson(Faces()));
  EXPECT_EQ(json["name"], "faces");
  EXPECT_EQ(json["version"], "2");
  EXPECT_EQ(json["family"], "end_to_end");
  EXPECT_EQ(json["max_batch_size"], 8);
  EXPECT_FALSE(json.isMember("unusable"));
  ASSERT_EQ(json["inputs"].size(), 1U);
  EXPECT_EQ(json["inputs"][0]["name"], "picture");
  EXPECT_EQ(json["inputs"][0]["datatype"], "UINT8");
  ASSERT_EQ(json["inputs"][0]["shape"].size(), 3U);
  EXPECT_EQ(json["inputs"][0]["shape"][0], -1);
  EXPECT_EQ(json["inputs"][0]["shape"][2], 3);
  ASSERT_EQ(json["outputs"].size(), 2U);
  EXPECT_EQ(json["outputs"][1]["name"], "det_boxes");
  ASSERT_EQ(json["class_names"].size(), 2U);
  EXPECT_EQ(json["class_names"][1], "other");
}

TEST(ModelsTest, AModelThatCannotBeUsedSaysWhy) {
  backend::Model model = Faces();
  model.plan = absl::FailedPreconditionError("it has \"two\" inputs");
  const Json::Value json = ParseJson(ToJson(model));
  EXPECT_TRUE(json.isMember("family"));
  EXPECT_TRUE(json["family"].isNull());
  EXPECT_EQ(json["unusable"], "it has \"two\" inputs");
}

TEST(ModelsTest, AModelWithoutAnythingIsStillJson) {
  const Json::Value json =
      ParseJson(ToJson(backend::Model{.description = {}, .plan = vision::ModelPlan{}}));
  EXPECT_EQ(json["inputs"].size(), 0U);
  EXPECT_EQ(json["class_names"].size(), 0U);
}

TEST(ModelsTest, HostileTextsOfTheServerStayText) {
  const std::string hostile = "\"],\\\n{}\x01";
  backend::Model model = Faces();
  model.description.name = model.description.version = hostile;
  model.description.class_names = {hostile};
  model.description.inputs = {{hostile, hostile, {}}};
  const Json::Value json = ParseJson(ToJson(model));
  EXPECT_EQ(json["name"], hostile);
  EXPECT_EQ(json["version"], hostile);
  EXPECT_EQ(json["class_names"][0], hostile);
  EXPECT_EQ(json["inputs"][0]["name"], hostile);
  EXPECT_EQ(json["inputs"][0]["datatype"], hostile);
}

TEST(ModelsTest, TheUsefulSideIsToldWhereItIsKnownForAllPictures) {
  struct Case {
    cv::Size size;  // 0: open
    vision::Resize resize;
    vision::InputKind kind;
    int useful_side;  // 0: not told
  };
  using enum vision::Resize;
  using vision::InputKind;
  for (const auto& [size, resize, kind, useful_side] :
       {Case{{640, 480}, kLetterbox, InputKind::kPixels, 640},
        Case{{320, 512}, kLetterbox, InputKind::kPixels, 512},
        Case{{0, 0}, kLetterbox, InputKind::kPixels, 960},
        Case{{0, 48}, kLetterbox, InputKind::kPixels, 0},
        Case{{640, 640}, kStretch, InputKind::kPixels, 0},
        Case{{224, 224}, kCrop, InputKind::kPixels, 0},
        Case{{640, 640}, kLetterbox, InputKind::kFile, 0},
        Case{{0, 0}, kLetterbox, InputKind::kFileBytes, 0}}) {
    backend::Model model = Faces();
    model.plan->input_kind = kind;
    model.plan->input.size = size;
    model.plan->input.max_side = 960;
    model.plan->input.resize = resize;
    const Json::Value json = ParseJson(ToJson(model));
    EXPECT_EQ(json.isMember("useful_side"), useful_side > 0) << size.width << " x " << size.height;
    EXPECT_EQ(json["useful_side"].asInt(), useful_side) << size.width << " x " << size.height;
  }
}

TEST(ModelsTest, WhereThereAreSeveralServersItSaysWhichHaveIt) {
  EXPECT_FALSE(ParseJson(ToJson(Faces())).isMember("servers"));
  const Json::Value json = ParseJson(ToJson(Faces(), {"unix:/a", "dns:b:8001"}));
  ASSERT_EQ(json["servers"].size(), 2U);
  EXPECT_EQ(json["servers"][1], "dns:b:8001");
}

}  // namespace
}  // namespace inferpool::predict
