// The keys `streams.cameras` and `streams.fields` of the configuration.
#include "shared/config/streams_keys.h"

#include <gtest/gtest.h>

#include <string>

#include "shared/config/config.h"
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

}  // namespace
}  // namespace inferpool
