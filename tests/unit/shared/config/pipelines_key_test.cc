// The keys `pipelines` and `analyze` of the configuration.
#include "shared/config/pipelines_key.h"

#include <gtest/gtest.h>

#include <string>

#include "shared/config/config.h"
#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::HasOnly;
using test::IsGood;
using test::Parse;

constexpr const char* kPlates = R"({"pipelines": {"plates": {"model": "objects", "each": [
  {"classes": ["car", "truck"], "min_confidence": 0.5, "min_size": 40, "most": 8, "model": "plate",
   "each": [{"model": "text_line", "turn": "text_direction"}]}]}}})";

TEST(PipelinesKeyTest, ATreeOfStepsIsRead) {
  const ConfigResult result = Parse(kPlates);
  ASSERT_TRUE(IsGood(result));
  ASSERT_EQ(result.config.pipelines.size(), 1U);
  const Config::Step& first = result.config.pipelines.at("plates");
  EXPECT_EQ(first.model, "objects");
  ASSERT_EQ(first.each.size(), 1U);
  const Config::Step& second = first.each[0];
  EXPECT_EQ(second.model, "plate");
  EXPECT_EQ(second.classes, (std::vector<std::string>{"car", "truck"}));
  EXPECT_EQ(second.min_confidence, 0.5);
  EXPECT_EQ(second.min_size, 40);
  EXPECT_EQ(second.most, 8);
  EXPECT_FALSE(second.reading_order);
  ASSERT_EQ(second.each.size(), 1U);
  EXPECT_EQ(second.each[0].model, "text_line");
  EXPECT_EQ(second.each[0].turn, "text_direction");
  EXPECT_EQ(second.each[0].most, 16) << "the default";
}

TEST(PipelinesKeyTest, WhatIsWrittenReadsBack) {
  for (const Config& config : {Parse(kPlates).config, Config()}) {
    const ConfigResult again = Parse("{\"pipelines\": " + ToJson(config.pipelines) + "}");
    ASSERT_TRUE(IsGood(again));
    EXPECT_EQ(again.config.pipelines, config.pipelines);
  }
}

TEST(PipelinesKeyTest, TextIsThereUnlessTheFileHasPipelinesOfItsOwn) {
  const Config::Pipelines pipelines = Parse("{}").config.pipelines;
  ASSERT_TRUE(pipelines.contains("text"));
  EXPECT_TRUE(pipelines.at("text").reading_order);
  EXPECT_TRUE(Parse(R"({"pipelines": {}})").config.pipelines.empty());
}

TEST(PipelinesKeyTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto problem = [](const std::string& step, const std::string& key,
                          const std::string& message = "allowed") {
    return HasOnly(
        Parse("{\"pipelines\": {\"a\": {\"model\": \"m\", \"each\": [\n" + step + "]}}}"), 2, key,
        message);
  };
  EXPECT_TRUE(problem(R"({"model": "x", "most": 0})", "pipelines.a.each[0].most"));
  EXPECT_TRUE(problem(R"({"model": "x", "most": 257})", "pipelines.a.each[0].most"));
  EXPECT_TRUE(problem(R"({"model": "x", "most": true})", "pipelines.a.each[0].most"));
  EXPECT_TRUE(problem(R"({"model": "x", "min_size": -1})", "pipelines.a.each[0].min_size"));
  EXPECT_TRUE(
      problem(R"({"model": "x", "min_confidence": 2})", "pipelines.a.each[0].min_confidence"));
  EXPECT_TRUE(problem(R"({"model": "x", "classes": []})", "pipelines.a.each[0].classes"));
  EXPECT_TRUE(problem(R"({"model": "x", "classes": "car"})", "pipelines.a.each[0].classes"));
  EXPECT_TRUE(problem(R"({"model": ""})", "pipelines.a.each[0].model"));
  EXPECT_TRUE(problem(R"({"model": "x", "turn": 90})", "pipelines.a.each[0].turn"));
  EXPECT_TRUE(problem(R"({"model": "x", "order": "size"})", "pipelines.a.each[0].order"));
  EXPECT_TRUE(problem(R"({"model": "x", "each": []})", "pipelines.a.each[0].each"));
  EXPECT_TRUE(problem(R"({"model": "x", "each": [5]})", "pipelines.a.each[0].each[0]"));
  EXPECT_TRUE(problem("5", "pipelines.a.each[0]"));
  EXPECT_TRUE(problem(R"({"most": 4})", "pipelines.a.each[0]", "names no \"model\""));
  EXPECT_TRUE(problem(R"({"model": "x", "mots": 4})", "pipelines.a.each[0].mots", "unknown"));
  EXPECT_TRUE(problem(R"({"model": "x"}, {"model": "x"})", "pipelines.a.each[1].model", "another"));
  EXPECT_TRUE(HasOnly(Parse(R"({"pipelines": {"a": {"model": "m", "most": 3}}})"), 1,
                      "pipelines.a.most", "the first one"));
  EXPECT_TRUE(HasOnly(Parse(R"({"pipelines": {"a": 5}})"), 1, "pipelines.a", "allowed"));
  EXPECT_TRUE(HasOnly(Parse(R"({"pipelines": 5})"), 1, "pipelines", "allowed"));
  for (const char* name : {"", "a/b", "a@1", "a,b", "..", "a\\u0000"}) {
    EXPECT_TRUE(
        HasOnly(Parse("{\"pipelines\": {\"" + std::string(name) + "\": {\"model\": \"m\"}}}"), 1,
                "pipelines", "has the name"))
        << name;
  }
}

TEST(PipelinesKeyTest, TheWorkForOnePictureIsBounded) {
  const auto nested = [](int depth) {
    std::string step = R"({"model": "m"})";
    for (int i = 1; i < depth; ++i) step = R"({"model": "m", "each": [)" + step + "]}";
    return Parse(R"({"pipelines": {"a": )" + step + "}}");
  };
  EXPECT_TRUE(IsGood(nested(kMaxPipelineDepth)));
  EXPECT_TRUE(HasOnly(nested(kMaxPipelineDepth + 1), 1, "pipelines.a.each[0].each[0].each[0].each",
                      "too deep"));
  const auto wide = [](int steps, int most) {
    std::string each;
    for (int i = 0; i < steps; ++i) {
      each += (i == 0 ? "" : ",") + std::string(R"({"model": "m)") + std::to_string(i) +
              R"(", "most": )" + std::to_string(most) + "}";
    }
    return Parse(R"({"pipelines": {"a": {"model": "m", "each": [)" + each + "]}}}");
  };
  EXPECT_TRUE(IsGood(wide(kMaxPipelineSteps - 1, 1)));
  EXPECT_TRUE(HasOnly(wide(kMaxPipelineSteps, 1), 1, "pipelines.a", "has 17 steps"));
  EXPECT_TRUE(IsGood(wide(2, kMaxCrops / 2)));
  EXPECT_TRUE(HasOnly(wide(2, kMaxCrops / 2 + 1), 1, "pipelines.a", "258 parts of a picture"));
}

TEST(PipelinesKeyTest, WhatIsAnalyzedIsAListOfABoundedLength) {
  EXPECT_EQ(Parse(R"({"analyze": ["a", "b"]})").config.analyze,
            (std::vector<std::string>{"a", "b"}));
  std::string names;
  for (std::size_t i = 0; i <= kMaxAnalyzed; ++i)
    names += (i == 0 ? "\"a" : ",\"a") + std::to_string(i) + "\"";
  EXPECT_TRUE(HasOnly(Parse("{\"analyze\": [" + names + "]}"), 1, "analyze", "17 models"));
}

}  // namespace
}  // namespace inferpool
