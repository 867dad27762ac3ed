#include "worker/predict/limits.h"

#include <gtest/gtest.h>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::predict {
namespace {

using test::ParseJson;

TEST(LimitsTest, TheyAreThoseOfTheConfiguration) {
  Config config;
  config.limits = {
      .body_mb = 7, .pixels = 1234, .queue_ms = 250, .batch_images = 9, .memory_mb = 512};
  config.timeouts.request_s = 12;
  config.predict.max_detections = 42;
  config.predict.tiles = 12;
  const Json::Value json = ParseJson(LimitsJson(config, nullptr, ""));
  EXPECT_EQ(json["body_bytes"], 7 << 20);
  EXPECT_EQ(json["pixels"], 1234);
  EXPECT_EQ(json["batch_images"], 9);
  EXPECT_EQ(json["max_detections"], 42);
  EXPECT_EQ(json["tiles"], 12);
  EXPECT_EQ(json["timeout_ms"], 12'000);
  EXPECT_EQ(json["queue_ms"], 250);
  EXPECT_EQ(json["formats"].size(), 4U);
  EXPECT_EQ(json["formats"][0], "image/jpeg");
  EXPECT_TRUE(json["key"].isNull());
  EXPECT_TRUE(json["client"].isNull());
}

TEST(LimitsTest, AKeyHasItsOwn) {
  ApiKey key;
  key.rate = {.per_s = 0.5, .burst = 3};
  key.priority = Priority::kHigh;
  const Json::Value json = ParseJson(LimitsJson({}, &key, ""));
  EXPECT_EQ(json["key"]["rate"]["requests_per_s"], 0.5);
  EXPECT_EQ(json["key"]["rate"]["burst"], 3);
  EXPECT_EQ(json["key"]["priority"], "high");
  key.rate = {};
  EXPECT_TRUE(ParseJson(LimitsJson({}, &key, ""))["key"]["rate"].isNull());
}

TEST(LimitsTest, WhatIsNoLimitIsNull) {
  Config config;
  config.limits.queue_ms = 0;
  Json::Value json = ParseJson(LimitsJson(config, nullptr, "0 2000 0"));
  EXPECT_TRUE(json["queue_ms"].isNull());
  EXPECT_TRUE(json["client"]["requests_per_s"].isNull());
  EXPECT_TRUE(json["client"]["burst"].isNull());
  EXPECT_TRUE(json["client"]["in_work"].isNull());
  json = ParseJson(LimitsJson(config, nullptr, "1000 2000 300"));
  EXPECT_EQ(json["client"]["requests_per_s"], 1000);
  EXPECT_EQ(json["client"]["burst"], 2001) << "the one that the rate lets through, and those above";
  EXPECT_EQ(json["client"]["in_work"], 300);
}

TEST(LimitsTest, WhatNginxWouldNotSayIsNotBelieved) {
  for (const char* edge : {"", " ", "1", "1 2", "1 2 3 4", "1 2 x", "1  2 3", "1 2 3 ", "a",
                           "1,2,3", "99999999999999999999 1 1"}) {
    EXPECT_TRUE(ParseJson(LimitsJson({}, nullptr, edge))["client"].isNull()) << edge;
  }
}

}  // namespace
}  // namespace inferpool::predict
