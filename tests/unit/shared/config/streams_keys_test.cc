// The keys of cameras' streams that hold objects.
#include "shared/config/streams_keys.h"

#include <gtest/gtest.h>

#include <string>

#include "shared/config/config.h"
#include "shared/config/motion_key.h"
#include "shared/config/rules_key.h"
#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::IsGood;
using test::Parse;
using test::Refuses;

TEST(StreamsKeysTest, EverythingThatCanBeSaidOfACameraIsReadAndReadsBack) {
  const ConfigResult result = Parse(R"({"streams": {"cameras": {"door-3": {
      "model": "objects", "parameters": "confidence=0.4", "policy": "all", "max_age_ms": 2000,
      "rate": 2.5, "priority": "high"}, "b": {}},
      "fields": {"picture": "image", "time": "captured"}}})");
  ASSERT_TRUE(IsGood(result));
  const Config::Camera& camera = result.config.streams.cameras.at("door-3");
  EXPECT_EQ(camera.model, "objects");
  EXPECT_EQ(camera.parameters, "confidence=0.4");
  EXPECT_EQ(camera.policy, "all");
  EXPECT_EQ(camera.max_age_ms, 2'000);
  EXPECT_EQ(camera.rate, 2.5);
  EXPECT_EQ(camera.priority, "high");
  EXPECT_TRUE(result.config.streams.cameras.contains("b"));
  EXPECT_EQ(result.config.streams.fields.at("picture"), "image");
  const ConfigResult again =
      Parse("{\"streams\": {\"cameras\": " + ToJson(result.config.streams.cameras) +
            ", \"fields\": " + ToJson(result.config.streams.fields) + "}}");
  ASSERT_TRUE(IsGood(again));
  EXPECT_EQ(ToJson(again.config.streams.cameras), ToJson(result.config.streams.cameras));
  EXPECT_EQ(ToJson(again.config.streams.fields), ToJson(result.config.streams.fields));
}

TEST(StreamsKeysTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto camera = [](const std::string& member) {
    return Parse(R"({"streams": {"cameras": {"a": {)" + member + "}}}}");
  };
  EXPECT_TRUE(Refuses(camera(R"("policy": "newest")"), "streams.cameras.a.policy"));
  EXPECT_TRUE(Refuses(camera(R"("rate": -1)"), "streams.cameras.a.rate"));
  EXPECT_TRUE(Refuses(camera(R"("results": "some")"), "streams.cameras.a.results"));
  EXPECT_TRUE(Refuses(camera(R"("max_age_ms": 1.5)"), "streams.cameras.a.max_age_ms"));
  EXPECT_TRUE(Refuses(camera(R"("priority": 3)"), "streams.cameras.a.priority"));
  EXPECT_TRUE(Refuses(camera(R"("model": 3)"), "streams.cameras.a.model"));
  EXPECT_TRUE(Refuses(camera(R"("zoom": 3)"), "streams.cameras.a.zoom"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"cameras": {"": {}}}})"), "streams.cameras"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"cameras": {"a": 5}}})"), "streams.cameras.a"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"fields": {"x": "y"}}})"), "streams.fields.x"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"fields": {"seq": ""}}})"), "streams.fields.seq"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"redis": "nowhere"}})"), "streams.redis"));
}

TEST(MotionKeyTest, ItIsReadForAllAndForACameraAndReadsBack) {
  const ConfigResult result = Parse(R"({"streams": {
      "motion": {"enabled": true, "threshold": 20, "area": 0.01, "keyframe_s": 5,
                 "masks": [[[0, 0], [1, 0], [1, 0.1]]]},
      "cameras": {"a": {"motion": {"enabled": false, "masks": []}}, "b": {}}}})");
  ASSERT_TRUE(IsGood(result));
  const Config::Motion& motion = result.config.streams.motion;
  EXPECT_EQ(motion.enabled, true);
  EXPECT_EQ(motion.threshold, 20);
  EXPECT_EQ(motion.area, 0.01);
  EXPECT_EQ(motion.keyframe_s, 5);
  EXPECT_EQ(motion.masks, (std::vector<Polygon>{{{0, 0}, {1, 0}, {1, 0.1}}}));
  const Config::Motion& camera = result.config.streams.cameras.at("a").motion;
  EXPECT_EQ(camera.enabled, false);
  EXPECT_TRUE(camera.masks && camera.masks->empty()) << "none, whatever holds for the others";
  EXPECT_FALSE(camera.area);
  EXPECT_EQ(ToJson(result.config.streams.cameras.at("b").motion), "{}");
  const ConfigResult again =
      Parse("{\"streams\": {\"motion\": " + ToJson(motion) +
            ", \"cameras\": " + ToJson(result.config.streams.cameras) + "}}");
  ASSERT_TRUE(IsGood(again));
  EXPECT_EQ(ToJson(again.config.streams.motion), ToJson(motion));
  EXPECT_EQ(ToJson(again.config.streams.cameras), ToJson(result.config.streams.cameras));
}

TEST(MotionKeyTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto motion = [](const std::string& member) {
    return Parse(R"({"streams": {"motion": {)" + member + "}}}");
  };
  EXPECT_TRUE(Refuses(motion(R"("enabled": 1)"), "streams.motion.enabled"));
  EXPECT_TRUE(Refuses(motion(R"("threshold": 0)"), "streams.motion.threshold"));
  EXPECT_TRUE(Refuses(motion(R"("area": 2)"), "streams.motion.area"));
  EXPECT_TRUE(Refuses(motion(R"("keyframe_s": 0)"), "streams.motion.keyframe_s"));
  EXPECT_TRUE(Refuses(motion(R"("masks": [[[0, 0], [1, 1]]])"), "streams.motion.masks"));
  EXPECT_TRUE(Refuses(motion(R"("masks": [[[0, 0], [1, 1], [2, 0]]])"), "streams.motion.masks"));
  EXPECT_TRUE(Refuses(motion(R"("masks": [[[0, 0], [0, 1], [0, 0.5]]])"), "streams.motion.masks"));
  EXPECT_TRUE(Refuses(motion(R"("zoom": 1)"), "streams.motion.zoom"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"cameras": {"a": {"motion": {"area": -1}}}}})"),
                      "streams.cameras.a.motion.area"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"cameras": {"a": {"motion": 5}}}})"),
                      "streams.cameras.a.motion"));
}

TEST(RulesKeyTest, ARuleIsReadAndReadsBack) {
  const ConfigResult result = Parse(R"({"streams": {"rules": {
      "door": {"cameras": ["door-3"], "classes": ["person", "dog"], "min_confidence": 0.6,
               "zone": [[0.2, 0.5], [0.8, 0.5], [0.8, 1]], "hold_off_s": 5,
               "url": "https://example.org/hook?a=b", "secret_file": "door.secret"},
      "all": {"url": "http://127.0.0.1:9/", "secret_file": "/s"}}}})");
  ASSERT_TRUE(IsGood(result));
  const Config::Rule& door = result.config.streams.rules.at("door");
  EXPECT_EQ(door.cameras, std::vector<std::string>{"door-3"});
  EXPECT_EQ(door.classes, (std::vector<std::string>{"person", "dog"}));
  EXPECT_EQ(door.min_confidence, 0.6);
  EXPECT_EQ(door.zone.size(), 3U);
  EXPECT_EQ(door.hold_off_s, 5);
  EXPECT_EQ(door.url, "https://example.org/hook?a=b");
  EXPECT_EQ(door.secret_file, "/srv/pool/door.secret");
  EXPECT_EQ(result.config.streams.rules.at("all").hold_off_s, 60);
  const std::string text = ToJson(result.config.streams.rules);
  const ConfigResult again = Parse("{\"streams\": {\"rules\": " + text + "}}");
  ASSERT_TRUE(IsGood(again));
  EXPECT_EQ(ToJson(again.config.streams.rules), text);
}

TEST(RulesKeyTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto rule = [](const std::string& members) {
    return Parse(R"({"streams": {"rules": {"a": {"secret_file": "s", )" + members + "}}}}");
  };
  EXPECT_TRUE(Refuses(rule(R"("classes": [])"), "streams.rules.a")) << "no url";
  EXPECT_TRUE(
      Refuses(Parse(R"({"streams": {"rules": {"a": {"url": "https://b"}}}})"), "streams.rules.a"));
  for (const char* url : {"ftp://a", "https://", "https:///a", "https://me:secret@a/", "a",
                          "https://a b", "file:///etc/passwd"}) {
    EXPECT_TRUE(Refuses(rule(R"("url": ")" + std::string(url) + '"'), "streams.rules.a.url"))
        << url;
  }
  EXPECT_TRUE(Refuses(rule(R"("url": "https://b", "zone": [[0, 0]])"), "streams.rules.a.zone"));
  for (const char* line : {"[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]", "[[0, 0], [1, 1], [0.5, 0.5]]",
                           "[[0, 0.3], [1, 0.3], [0.2, 0.3], [0.7, 0.3]]",
                           "[[0.1, 0.1], [0.3, 0.9], [0.7, 0.2], [0.3, 0.9]]"}) {
    EXPECT_TRUE(Refuses(rule(R"("url": "https://b", "zone": )" + std::string(line)),
                        "streams.rules.a.zone"))
        << line;
  }
  for (const char* zone : {"[[0, 0], [1, 1], [1, 0], [0, 1]]", "[[0, 0.999], [1, 0.999], [1, 1]]",
                           "[[0.1, 0.1], [0.9, 0.3], [0.5, 0.2], [0.4, 0.9]]"}) {
    EXPECT_TRUE(IsGood(rule(R"("url": "https://b", "zone": )" + std::string(zone)))) << zone;
  }
  EXPECT_TRUE(
      Refuses(rule(R"("url": "https://b", "hold_off_s": -1)"), "streams.rules.a.hold_off_s"));
  EXPECT_TRUE(
      Refuses(rule(R"("url": "https://b", "classes": "person")"), "streams.rules.a.classes"));
  EXPECT_TRUE(Refuses(rule(R"("url": "https://b", "zoom": 1)"), "streams.rules.a.zoom"));
  EXPECT_TRUE(Refuses(Parse(R"({"streams": {"rules": {"a b": {}}}})"), "streams.rules"));
}

}  // namespace
}  // namespace inferpool
