#include "ops/rules/rule.h"

#include <gtest/gtest.h>
#include <json/json.h>

#include <string>

#include "shared/base/polygon.h"
#include "shared/base/strict_json.h"

namespace inferpool::rules {
namespace {

const Polygon kLowerHalf = {{0, 0.5}, {1, 0.5}, {1, 1}, {0, 1}};

Finding Person(double confidence, Box box = {.x1 = 0.1, .y1 = 0.1, .x2 = 0.2, .y2 = 0.6}) {
  return {.class_name = "person", .confidence = confidence, .box = box};
}

TEST(PolygonTest, PointsInAnyShape) {
  const Polygon arrow = {{0, 0}, {1, 0.5}, {0, 1}, {0.4, 0.5}};
  EXPECT_TRUE(Contains(arrow, {0.6, 0.5}));
  EXPECT_FALSE(Contains(arrow, {0.2, 0.5})) << "in the notch";
  EXPECT_TRUE(Contains(arrow, {0.2, 0.2}));
  EXPECT_FALSE(Contains(arrow, {0.2, 0.05}));
  EXPECT_FALSE(Contains(arrow, {-1, 0.5}));
  EXPECT_FALSE(Contains({}, {0.5, 0.5}));
  EXPECT_FALSE(Contains({{0, 0}, {1, 1}}, {0.5, 0.5}));
}

TEST(RuleTest, ClassAndConfidence) {
  EXPECT_TRUE(Meets(Person(0), {}));
  const Config::Rule rule{.classes = {"dog", "person"}, .min_confidence = 0.6};
  EXPECT_TRUE(Meets(Person(0.6), rule));
  EXPECT_FALSE(Meets(Person(0.59), rule));
  Finding cat = Person(0.9);
  cat.class_name = "cat";
  EXPECT_FALSE(Meets(cat, rule));
}

TEST(RuleTest, TheZoneHasTheMiddleOfTheLowerEdge) {
  const Config::Rule rule{.zone = kLowerHalf};
  EXPECT_TRUE(Meets(Person(1), rule)) << "he stands in it, though his head is not in it";
  EXPECT_FALSE(Meets(Person(1, {.x1 = 0.1, .y1 = 0.1, .x2 = 0.2, .y2 = 0.4}), rule));
  const Config::Rule left{.zone = {{0, 0}, {0.5, 0}, {0.5, 1}, {0, 1}}};
  EXPECT_TRUE(Meets(Person(1, {.x1 = 0.4, .y1 = 0, .x2 = 0.58, .y2 = 0.9}), left));
  EXPECT_FALSE(Meets(Person(1, {.x1 = 0.44, .y1 = 0, .x2 = 0.58, .y2 = 0.9}), left));
  EXPECT_FALSE(Meets({.class_name = "person", .confidence = 1}, rule)) << "without a place";
}

TEST(RuleTest, AZoneThatReachesTheEdgeOfThePictureHasWhoeverTheEdgeCutsOff) {
  const Config::Rule lower{.zone = kLowerHalf};
  EXPECT_TRUE(Meets(Person(1, {.x1 = 0.1, .y1 = 0.1, .x2 = 0.2, .y2 = 1}), lower));
  EXPECT_TRUE(Meets(Person(1, {.x1 = 1, .y1 = 0.1, .x2 = 1, .y2 = 0.9}), lower));
  EXPECT_TRUE(Meets(Person(1, {.x1 = 1, .y1 = 1, .x2 = 1, .y2 = 1}), lower));
  EXPECT_TRUE(Meets(Person(1, {.x1 = -0.1, .y1 = 0.1, .x2 = 0.1, .y2 = 1.0001}), lower));
  const Config::Rule upper{.zone = {{0, 0}, {1, 0}, {1, 0.9}, {0, 0.9}}};
  EXPECT_FALSE(Meets(Person(1, {.x1 = 0.1, .y1 = 0.1, .x2 = 0.2, .y2 = 1}), upper));
}

Answer AnswerWith(const std::string& detections) {
  return {.entry = "1764490000123-7",
          .at_ms = 1'764'490'000'123,
          .camera = "door \"3\"",
          .frame = "5-0",
          .seq = "42",
          .captured_ms = 100,
          .answered_ms = 102,
          .json = R"({"image":{"width":100,"height":100},"detections":[)" + detections + "]}"};
}

std::string Detection(const std::string& name, double confidence) {
  return R"({"box":{"x1":10,"y1":10,"x2":30,"y2":80},"confidence":)" + std::to_string(confidence) +
         R"(,"class_name":")" + name + "\"}";
}

TEST(JudgeTest, EachRuleWithWhatMeetsIt) {
  const Config::Rules rules = {
      {"all", {}},
      {"dogs", {.classes = {"dog"}}},
      {"elsewhere", {.cameras = {"gate"}}},
      {"here", {.cameras = {"gate", "door \"3\""}, .min_confidence = 0.8}}};
  const auto matches =
      Judge(rules, AnswerWith(Detection("person", 0.9) + "," + Detection("cat", 0.4)));
  ASSERT_EQ(matches.size(), 2U);
  EXPECT_EQ(matches[0].rule, "all");
  EXPECT_EQ(matches[0].findings.size(), 2U);
  EXPECT_EQ(matches[1].rule, "here");
  ASSERT_EQ(matches[1].findings.size(), 1U);
  EXPECT_EQ(matches[1].findings[0].class_name, "person");
  EXPECT_TRUE(Judge(rules, AnswerWith("")).empty());
}

TEST(EventTest, ItSaysWhatWasFoundWhereAndWhen) {
  const Answer answer = AnswerWith(Detection("per\\\"son", 0.5) + "," + Detection("cat", 0.75));
  const auto matches = Judge({{"door", {}}}, answer);
  ASSERT_EQ(matches.size(), 1U);
  const std::string id = EventId("door", 7, answer);
  EXPECT_EQ(id, "door:07:1764490000123-7");
  const auto event = ReadStrictJson(EventJson(id, matches[0], answer), 8, 1'000);
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ((*event)["id"], id);
  EXPECT_EQ((*event)["rule"], "door");
  EXPECT_EQ((*event)["camera"], "door \"3\"");
  EXPECT_EQ((*event)["frame"], "5-0");
  EXPECT_EQ((*event)["seq"], 42);
  EXPECT_EQ((*event)["captured"], 100);
  EXPECT_EQ((*event)["answered"], 102);
  EXPECT_EQ((*event)["count"].asUInt(), 2U);
  EXPECT_EQ((*event)["findings"][0]["class_name"], "cat") << "the surest first";
  EXPECT_EQ((*event)["findings"][0]["box"]["y2"], 0.8);
  EXPECT_EQ((*event)["findings"][1]["class_name"], "per\"son");
}

TEST(EventTest, ItIsBounded) {
  Match match{.rule = "door", .findings = std::vector<Finding>(5'000, Person(0.5))};
  const std::string json = EventJson("a", match, AnswerWith(""));
  const auto event = ReadStrictJson(json, 8, 10'000);
  ASSERT_TRUE(event.ok());
  EXPECT_EQ((*event)["count"].asUInt(), 5'000U);
  EXPECT_EQ((*event)["findings"].size(), 100U);
}

}  // namespace
}  // namespace inferpool::rules
