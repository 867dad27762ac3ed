#include "ops/live/answer.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "shared/base/strict_json.h"

namespace inferpool::live {
namespace {

Json::Value Read(const std::string& json) {
  const auto value = ReadStrictJson(json, 16, 1'000);
  EXPECT_TRUE(value.ok()) << value.status() << json;
  return value.ok() ? *value : Json::Value();
}

std::vector<EntryField> Fields(std::string_view json, std::string_view status = "200") {
  return {{"camera", "door-3"}, {"frame", "17-0"},    {"seq", "41"},    {"status", status},
          {"json", json},       {"captured", "1000"}, {"read", "1010"}, {"answered", "1055"}};
}

TEST(EntryIdTest, TwoNumbersAndNothingElse) {
  EXPECT_EQ(ParseEntryId("1700000000000-3"), (EntryId{1700000000000, 3}));
  EXPECT_EQ((EntryId{1700000000000, 3}).ToText(), "1700000000000-3");
  for (const std::string_view text : {"", "-", "1", "1-", "-1", "1-2 ", " 1-2", "1-2-3", "$", "+",
                                      "1--2", "a-1", "99999999999999999999-1"}) {
    EXPECT_EQ(ParseEntryId(text), std::nullopt) << text;
  }
}

TEST(EntryIdTest, TheyAreInTheOrderOfTheStream) {
  EXPECT_LT((EntryId{9, 7}), (EntryId{10, 0}));
  EXPECT_LT((EntryId{10, 9}), (EntryId{10, 10}));
}

TEST(AnswerTest, AGoodOneHasTheMembersOfThePrediction) {
  const auto answer = ParseAnswer(
      {5, 0}, Fields("{\"model\":{\"name\":\"objects\"},\"detections\":[{\"x\":1}]}\n"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->camera, "door-3");
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->captured_ms, 1000);
  EXPECT_EQ(answer->answered_ms, 1055);
  EXPECT_TRUE(answer->has_findings);
  const Json::Value json = Read(answer->json);
  EXPECT_EQ(json["camera"], "door-3");
  EXPECT_EQ(json["frame"]["id"], "17-0");
  EXPECT_EQ(json["frame"]["seq"], 41);
  EXPECT_EQ(json["status"], 200);
  EXPECT_EQ(json["times"]["captured"], 1000);
  EXPECT_EQ(json["times"]["read"], 1010);
  EXPECT_EQ(json["times"]["answered"], 1055);
  EXPECT_EQ(json["model"]["name"], "objects");
  EXPECT_EQ(json["detections"].size(), 1U);
}

TEST(AnswerTest, AFailedOneHasItsProblem) {
  const auto answer = ParseAnswer({5, 0}, Fields(R"({"code":"bad-picture","status":422})", "422"));
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->has_findings);
  const Json::Value json = Read(answer->json);
  EXPECT_EQ(json["status"], 422);
  EXPECT_EQ(json["problem"]["code"], "bad-picture");
}

TEST(AnswerTest, WhateverStandsInRedisTheAnswerIsOneLineOfJson) {
  for (const std::string_view json : {"", "{", "}", "[]", "null", "{}", "{ }", "\n{\n}\n"}) {
    const auto answer = ParseAnswer({5, 0}, Fields(json));
    ASSERT_TRUE(answer) << json;
    EXPECT_EQ(answer->json.find('\n'), std::string::npos);
    Read(answer->json);
  }
  const auto answer = ParseAnswer({5, 0}, Fields("{\"a\":1,\r\n\"b\":2}"));
  EXPECT_EQ(answer->json.find_first_of("\r\n"), std::string::npos);
  EXPECT_EQ(Read(answer->json)["b"], 2);
  const std::vector<EntryField> odd = {{"camera", "a\"\n\xff"},
                                       {"seq", "x"},
                                       {"captured", "-5"},
                                       {"answered", "99999999999999999999"}};
  const auto odd_answer = ParseAnswer({5, 0}, odd);
  ASSERT_TRUE(odd_answer);
  EXPECT_EQ(odd_answer->json.find('\n'), std::string::npos);
  const Json::Value read = Read(odd_answer->json);
  EXPECT_TRUE(read["frame"]["seq"].isNull());
  EXPECT_TRUE(read["times"]["captured"].isNull());
  EXPECT_TRUE(read["problem"].isNull());
}

TEST(AnswerTest, AnEntryWithoutACameraIsNone) {
  EXPECT_EQ(ParseAnswer({5, 0}, {}), std::nullopt);
}

TEST(HasFindingsTest, ALook) {
  for (const std::string_view json :
       {R"({"detections":[{"box":1}]})", R"({"detections": [ {} ]})", R"({"classes":[{}]})",
        R"({"texts":[{}]})", R"({"embedding":[0.1]})"}) {
    EXPECT_TRUE(HasFindings(json)) << json;
  }
  for (const std::string_view json :
       {R"({"detections":[]})", R"({"detections":[ ]})", R"({"texts":[],"model":{"name":"x"}})",
        "{}", "", R"({"detections")", R"({"detections":)", R"({"detections":[)",
        R"({"name":"\"detections\":[{}]"})", R"({"detections":[],"name":"detections"})"}) {
    EXPECT_FALSE(HasFindings(json)) << json;
  }
}

}  // namespace
}  // namespace inferpool::live
