#include "worker/kserve_http/json_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace inferpool::kserve_http {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Refusal(std::string_view text) {
  const auto header = ReadJsonHeader(text);
  return header.ok() ? "(none)" : std::string(Message(header.status()));
}

TEST(JsonHeaderTest, TheElementsAreLeftAsText) {
  const auto header = ReadJsonHeader(
      R"({"id":"a","inputs":[{"name":"x","data":[1,[2,"]"]]},{"data" : "\"}" ,"name":"y"},{"data":7}],"data":[3]})");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->data, ElementsAre(R"([1,[2,"]"]])", R"( "\"}" )", "7"));
  EXPECT_EQ(header->root["inputs"][1]["data"], 1);
  EXPECT_EQ(header->root["inputs"][1]["name"], "y");
  EXPECT_EQ(header->root["data"][0], 3);  // of no input
}

TEST(JsonHeaderTest, OnlyTheDataOfInputsAreLeft) {
  const auto header = ReadJsonHeader(
      R"({"inputs":[{"parameters":{"data":[1]},"x":[{"data":[2]}]},["data",[3]]],"outputs":[{"data":[4]}]})");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->data, IsEmpty());
  EXPECT_EQ(header->root["outputs"][0]["data"][0], 4);
}

TEST(JsonHeaderTest, AKeyIsTheSameHoweverItIsWritten) {
  const auto header = ReadJsonHeader(R"({"\u0069nputs":[{"d\u0061ta":[1,2]}]})");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->data, ElementsAre("[1,2]"));
  EXPECT_EQ(header->root["inputs"][0]["data"], 0);
}

TEST(JsonHeaderTest, AHugeTensorIsNoHugeTree) {
  std::string text = R"({"inputs":[{"data":[0)";
  for (int i = 0; i < 2'000'000; ++i) text += ",0";
  text += "]}]}";
  const auto header = ReadJsonHeader(text);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->data.at(0).size(), 4'000'003U);
}

TEST(JsonHeaderTest, TheRestIsBounded) {
  std::string zeros = "[0";
  for (int i = 0; i < 600'000; ++i) zeros += ",0";
  zeros += "]";
  EXPECT_THAT(Refusal(R"({"inputs":[],"x":)" + zeros + "}"), HasSubstr("bytes"));
  EXPECT_THAT(Refusal(R"({"inputs":[{"shape":)" + zeros + "}]}"), HasSubstr("bytes"));
}

TEST(JsonHeaderTest, DepthIsBounded) {
  EXPECT_THAT(Refusal(std::string(3'000'000, '[')), HasSubstr("deeper"));
  EXPECT_THAT(Refusal(R"({"a":)" + std::string(32, '[') + std::string(32, ']') + "}"),
              HasSubstr("deeper"));
  EXPECT_EQ(Refusal(R"({"a":)" + std::string(31, '[') + std::string(31, ']') + "}"), "(none)");
  // Nested elements are text here.
  EXPECT_EQ(Refusal(R"({"inputs":[{"data":)" + std::string(50, '[') + std::string(50, ']') + "}]}"),
            "(none)");
}

TEST(JsonHeaderTest, WhatIsNotStrictlyJsonIsRefused) {
  for (const char* text : {"",
                           " ",
                           "null",
                           "1",
                           "\"a\"",
                           "[]",
                           "{",
                           "}",
                           "{}}",
                           "{}{}",
                           "{} x",
                           "{\"a\":1,}",
                           "{'a':1}",
                           "{a:1}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "// c\n{}",
                           "{\"a\":1,\"a\":2}",
                           "{\"inputs\":[],\"inputs\":[]}",
                           "{\"inputs\":[{\"data\":[1],\"data\":[2]}]}",
                           "{\"inputs\":[{\"data\":[1]",
                           "{\"inputs\":[{\"data\":",
                           "{\"inputs\":[{\"data\":[1]]]}]}",
                           "{\"inputs\":[{\"data\"",
                           "{\"a\":\"",
                           "{\"a\":\"\\",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":NaN}"}) {
    EXPECT_NE(Refusal(text), "(none)") << text;
  }
  EXPECT_NE(Refusal(std::string_view("{}\0", 3)), "(none)");
}

TEST(JsonHeaderTest, NothingHidesDataFromTheSplitter) {
  // Comments that jsoncpp tolerates could put quotes and brackets where one of two readers sees
  // them.
  for (const char* text : {R"({"inputs":[{"p":{/*"*/},"data":4000000000}]})", R"({/**/})",
                           R"({"inputs":[{"data":7}/*[*/]})", "{//\n}"}) {
    EXPECT_THAT(Refusal(text), HasSubstr("comment")) << text;
  }
  for (const char* text :
       {R"({"inputs":[{"data\ud800":9,"name":"x"}]})", R"({"inputs":[{"data\u0000":9}]})",
        R"({"inputs":[{"x":"\"data\":","data":9}]})", R"({"inputs":[{"x":"/*","data":9}]})"}) {
    const auto header = ReadJsonHeader(text);
    if (!header.ok()) continue;
    const Json::Value& input = header->root["inputs"][0];
    if (input.isMember("data")) {
      EXPECT_EQ(input["data"], 0) << text;
      EXPECT_THAT(header->data, ElementsAre("9")) << text;
    }
  }
}

TEST(JsonHeaderTest, TheReasonIsOneLine) {
  for (const char* text : {"{\"a\":1,}", "{\"a\":1,\"a\":2}", "{}x", "{\"inputs\":[{]}"}) {
    const std::string reason = Refusal(text);
    EXPECT_THAT(reason, HasSubstr("malformed"));
    EXPECT_EQ(reason.find('\n'), std::string::npos) << reason;
  }
}

// A value of two characters takes some hundred bytes as a part of a tree.
TEST(JsonHeaderTest, ThereAreOnlySoManyValues) {
  const auto list = [](int count) {
    std::string text = R"({"x":[0)";
    for (int i = 1; i < count; ++i) text += ",0";
    return text + "]}";
  };
  EXPECT_TRUE(ReadJsonHeader(list(16'000)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ReadJsonHeader(list(17'000)).status()));
}

}  // namespace
}  // namespace inferpool::kserve_http
