#include "worker/predict/cache_key.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace inferpool::predict {
namespace {

using http::PredictParameters;

class CacheKeyTest : public testing::Test {
 protected:
  static std::shared_ptr<backend::Model> Faces() {
    ModelDescription description;
    description.name = "faces";
    description.version = "1";
    return std::make_shared<backend::Model>(
        backend::Model{std::move(description), absl::UnknownError("of no family")});
  }

  Config config_;
  CacheKeys keys_{config_};
  const std::shared_ptr<backend::Model> faces_ = Faces();
  PredictParameters parameters_{
      .confidence = 0.25, .iou = 0.45, .max_detections = 300, .render = {}};
  const CacheKey key_ = keys_.For("picture", faces_, parameters_, "json");
};

TEST_F(CacheKeyTest, TheSameQuestionHasTheSameKeyEverywhere) {
  EXPECT_EQ(keys_.For("picture", faces_, parameters_, "json"), key_);
  EXPECT_EQ(CacheKeys(config_).For("picture", Faces(), parameters_, "json"), key_);
}

TEST_F(CacheKeyTest, WhateverMayChangeTheAnswerChangesTheKey) {
  EXPECT_NE(keys_.For("picturE", faces_, parameters_, "json"), key_);
  EXPECT_NE(keys_.For("picture", faces_, parameters_, "image/png"), key_);
  std::set<std::string, std::less<>> seen{std::string(key_.view())};
  for (const auto& change : std::initializer_list<void (*)(PredictParameters&)>{
           [](auto& p) { p.confidence = 0.250001; }, [](auto& p) { p.iou = 0.5; },
           [](auto& p) { p.max_detections = 30; }, [](auto& p) { p.normalized = true; },
           [](auto& p) { p.class_agnostic = true; },
           [](auto& p) {
             p.roi = {1, 2, 3, 4};
           },
           [](auto& p) {
             p.roi = {1, 2, 3, 5};
           },
           [](auto& p) { p.classes = "face"; }, [](auto& p) { p.classes = "face,hand"; },
           [](auto& p) { p.class_confidence["face"] = 0.25; },
           [](auto& p) { p.class_confidence["face"] = 0.5; },
           [](auto& p) { p.class_confidence["hand"] = 0.5; },
           [](auto& p) { p.tiles = http::TileCount(); },
           [](auto& p) {
             p.tiles = {4, 3};
           },
           [](auto& p) {
             p.tiles = {3, 4};
           },
           [](auto& p) {
             p.tiles = {3, 4};
             p.tile_overlap = 0.1;
           }}) {
    PredictParameters changed = parameters_;
    change(changed);
    EXPECT_TRUE(seen.emplace(keys_.For("picture", faces_, changed, "json").view()).second);
  }
  for (const auto& change : std::initializer_list<void (*)(ModelDescription&)>{
           [](auto& d) { d.name = "faces2"; }, [](auto& d) { d.version = "2"; },
           [](auto& d) { d.class_names = {"face"}; }, [](auto& d) { d.parameters["nms"] = "off"; },
           [](auto& d) {
             d.inputs = {{"image", "UINT8", {3}}};
           },
           [](auto& d) {
             d.outputs = {{"boxes", "FP32", {4}}};
           },
           [](auto& d) { d.max_batch_size = 4; }}) {
    const auto changed = Faces();
    change(changed->description);
    EXPECT_NE(keys_.For("picture", changed, parameters_, "json"), key_);
  }
  Config other;
  other.decode.reduced = !other.decode.reduced;
  EXPECT_NE(CacheKeys(other).For("picture", faces_, parameters_, "json"), key_);
  Config smaller;
  --smaller.limits.pixels;
  EXPECT_NE(CacheKeys(smaller).For("picture", faces_, parameters_, "json"), key_);
}

}  // namespace
}  // namespace inferpool::predict
