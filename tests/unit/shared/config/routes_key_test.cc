// The key `routes` of the configuration.
#include "shared/config/routes_key.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::HasOnly;
using test::IsGood;
using test::Parse;

constexpr const char* kAll = R"({"routes": {
    "objects": {"model": "yolo", "version": 3,
                "canary": {"model": "yolo", "version": "4-rc.1", "percent": 2.5, "by": "address"},
                "shadow": {"model": "rtdetr", "percent": 20},
                "fallback": "small"},
    "small": {"model": "small"}}})";

TEST(RoutesKeyTest, EverythingThatARouteCanHaveIsRead) {
  const ConfigResult result = Parse(kAll);
  ASSERT_TRUE(IsGood(result));
  const Config::Route& route = result.config.routes.at("objects");
  EXPECT_EQ(route.model, "yolo");
  EXPECT_EQ(route.version, "3");
  ASSERT_TRUE(route.canary);
  EXPECT_EQ(route.canary->version, "4-rc.1");
  EXPECT_EQ(route.canary->percent, 2.5);
  EXPECT_TRUE(route.canary->by_address);
  ASSERT_TRUE(route.shadow);
  EXPECT_EQ(route.shadow->model, "rtdetr");
  EXPECT_EQ(route.shadow->version, "");
  EXPECT_EQ(route.fallback, "small");
  EXPECT_EQ(result.config.routes.at("small").version, "");
  const ConfigResult again = Parse("{\"routes\": " + ToJson(result.config.routes) + "}");
  ASSERT_TRUE(IsGood(again));
  EXPECT_EQ(ToJson(again.config.routes), ToJson(result.config.routes)) << "it reads back";
}

TEST(RoutesKeyTest, VersionsStayAsTheyAreWritten) {
  const auto version = [](const std::string& written) {
    const ConfigResult result =
        Parse(R"({"routes": {"a": {"model": "b", "version": )" + written + "}}}");
    const ConfigResult again = Parse("{\"routes\": " + ToJson(result.config.routes) + "}");
    EXPECT_EQ(result.config.routes.at("a").version, again.config.routes.at("a").version);
    return result.config.routes.at("a").version;
  };
  EXPECT_EQ(version("7"), "7");
  EXPECT_EQ(version("\"7\""), "7");
  EXPECT_EQ(version("\"007\""), "007");
  EXPECT_EQ(version("0"), "0");
  EXPECT_EQ(version("\"99999999999999999999\""), "99999999999999999999");
}

TEST(RoutesKeyTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto problem = [](const std::string& members, const std::string& key,
                          const std::string& words) {
    return HasOnly(Parse("{\"routes\": {\"a\":\n {" + members + "}}}"), 2, key, words);
  };
  EXPECT_TRUE(problem("", "routes.a", "names no model"));
  EXPECT_TRUE(problem(R"("model": "")", "routes.a.model", "a name"));
  EXPECT_TRUE(problem(R"("model": 5)", "routes.a.model", "a name"));
  EXPECT_TRUE(problem(R"("model": "b", "modell": "b")", "routes.a.modell", "unknown; allowed are"));
  EXPECT_TRUE(problem(R"("model": "b", "version": -1)", "routes.a.version", "whole number"));
  EXPECT_TRUE(problem(R"("model": "b", "version": 1.5)", "routes.a.version", "whole number"));
  EXPECT_TRUE(problem(R"("model": "b", "version": "a b")", "routes.a.version", "whole number"));
  EXPECT_TRUE(problem(R"("model": "b", "canary": 5)", "routes.a.canary", "allowed"));
  EXPECT_TRUE(problem(R"("model": "b", "canary": {"percent": 5})", "routes.a.canary", "no model"));
  EXPECT_TRUE(
      problem(R"("model": "b", "canary": {"model": "c"})", "routes.a.canary", "no percent"));
  EXPECT_TRUE(problem(R"("model": "b", "canary": {"model": "c", "percent": 100.5})",
                      "routes.a.canary.percent", "0 to 100"));
  EXPECT_TRUE(problem(R"("model": "b", "canary": {"model": "c", "percent": -1})",
                      "routes.a.canary.percent", "0 to 100"));
  EXPECT_TRUE(problem(R"("model": "b", "canary": {"model": "c", "percent": 5, "by": "luck"})",
                      "routes.a.canary.by", "\"address\""));
  EXPECT_TRUE(problem(R"("model": "b", "shadow": {"model": "c", "percent": 5, "by": "key"})",
                      "routes.a.shadow.by", "unknown"));
  EXPECT_TRUE(problem(R"("model": "b", "shadow": "c")", "routes.a.shadow", "allowed"));
  EXPECT_TRUE(problem(R"("model": "b", "fallback": "a")", "routes.a.fallback", "itself"));
  EXPECT_TRUE(problem(R"("model": "b", "fallback": {})", "routes.a.fallback", "a name"));
  EXPECT_TRUE(HasOnly(Parse(R"({"routes": {"a": "b"}})"), 1, "routes.a", "allowed"));
  EXPECT_TRUE(HasOnly(Parse(R"({"routes": {"a@4": {"model": "b"}}})"), 1, "routes.a@4", "'@'"));
  EXPECT_FALSE(Parse(R"({"routes": {"": {"model": "b"}}})").problems.empty());
  const auto named = [](std::size_t bytes) {
    return Parse(R"({"routes": {")" + std::string(bytes, 'a') + R"(": {"model": "b"}}})");
  };
  EXPECT_TRUE(IsGood(named(127)));
  EXPECT_TRUE(HasOnly(named(128), 1, "routes." + std::string(128, 'a'), "128 bytes"));
}

TEST(RoutesKeyTest, FallbacksFormNoCircle) {
  const ConfigResult result = Parse(R"({"routes": {
      "a": {"model": "m", "fallback": "b"},
      "b": {"model": "m", "fallback": "c"},
      "c": {"model": "m", "fallback": "b"}}})");
  ASSERT_EQ(result.problems.size(), 2U) << "a only leads to the circle";
  EXPECT_EQ(result.problems[0].key, "routes.b.fallback");
  EXPECT_NE(result.problems[0].message.find("b -> c -> b"), std::string::npos);
  EXPECT_EQ(result.problems[0].line, 3);
  EXPECT_TRUE(IsGood(Parse(R"({"routes": {"a": {"model": "a", "fallback": "a_small"}}})")))
      << "a route may have the name of its model";
}

TEST(RoutesKeyTest, ARouteAndAPipelineAreNotOfOneName) {
  const ConfigResult result =
      Parse(R"({"pipelines": {"a": {"model": "m"}}, "routes": {"a": {"model": "m"}}})");
  ASSERT_EQ(result.problems.size(), 1U);
  EXPECT_EQ(result.problems[0].key, "routes.a");
}

TEST(RoutesKeyTest, TheDigestIsOfTheRoutesAndTheSameEverywhere) {
  EXPECT_EQ(DigestOf(Parse(kAll).config.routes), DigestOf(Parse(kAll).config.routes));
  EXPECT_NE(DigestOf(Parse(kAll).config.routes), DigestOf({}));
  EXPECT_EQ(DigestOf({}), 0x1349cde127705c16U) << "XXH3 of {}";
}

}  // namespace
}  // namespace inferpool
