#include "shared/base/strict_json.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

namespace inferpool {
namespace {

using std::string_literals::operator""s;

TEST(StrictJsonTest, ReadsEveryKindOfValue) {
  const auto value = ReadStrictJson(
      R"( {"text":"a\u00e4\"","whole":9007199254740993,"part":-1.5e3,"yes":true,"none":null,)"
      R"("list":[1,[2]]} )",
      4, 100);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ((*value)["text"].asString(), "aä\"");
  EXPECT_EQ((*value)["whole"].asInt64(), 9007199254740993);
  EXPECT_EQ((*value)["part"].asDouble(), -1500);
  EXPECT_TRUE((*value)["yes"].asBool());
  EXPECT_TRUE((*value)["none"].isNull());
  EXPECT_EQ((*value)["list"][1][0].asInt(), 2);
  EXPECT_EQ(ReadStrictJson("\"plain\"", 1, 1'000)->asString(), "plain");
}

TEST(StrictJsonTest, RefusesWhatIsNotJson) {
  for (const std::string& text : {""s,
                                  " "s,
                                  "{"s,
                                  "{\"a\":}"s,
                                  "{\"a\":1,}"s,
                                  "[1,]"s,
                                  "{'a':1}"s,
                                  "{a:1}"s,
                                  "nan"s,
                                  "NaN"s,
                                  "[Infinity]"s,

                                  "{} {}"s,
                                  "{}x"s,
                                  "// comment\n{}"s,
                                  "[/* comment */1]"s,
                                  "{\"a\":1,\"a\":2}"s,
                                  "{}\0"s,
                                  "\"\0\""s,
                                  "\xef\xbb\xbf{}"s,
                                  "\"open"s,
                                  "\x80"s}) {
    const auto value = ReadStrictJson(text, 8, 1'000);
    EXPECT_TRUE(absl::IsInvalidArgument(value.status())) << text;
  }
}

TEST(StrictJsonTest, SaysWhereAndWhy) {
  for (const auto& [text, message] :
       {std::pair("{\n \"a\" 1}", "Line 2, Column 6: Missing ':' after object member name"),
        {"[1\n 2\n 3]", "Line 2, Column 2: Missing ',' or ']' in array declaration"},
        {"", "Line 1, Column 1: Syntax error: value, object or array expected."},
        {"{} {}", "Line 1, Column 4: Extra non-whitespace after JSON value."}}) {
    EXPECT_EQ(Message(ReadStrictJson(text, 8, 1'000).status()), message) << text;
  }
}

TEST(StrictJsonTest, DepthIsBounded) {
  // An empty one is as deep as one with something in it.
  EXPECT_TRUE(ReadStrictJson("[[[]]]", 3, 1'000).ok());
  EXPECT_FALSE(ReadStrictJson("[[[[]]]]", 3, 1'000).ok());
  EXPECT_FALSE(ReadStrictJson("[[[{}]]]", 3, 1'000).ok());
  EXPECT_TRUE(ReadStrictJson(R"(["[[[[{{{{", [["\"[["]]])", 3, 1'000).ok());
  EXPECT_TRUE(ReadStrictJson("[[[1]]]", 3, 1'000).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ReadStrictJson("[[[[1]]]]", 3, 1'000).status()));
  EXPECT_TRUE(ReadStrictJson(R"({"a":{"b":{}}})", 3, 1'000).ok());
  for (const char bracket : {'[', '{'}) {
    const std::string bomb(1'000'000, bracket);
    EXPECT_TRUE(absl::IsInvalidArgument(ReadStrictJson(bomb, 64, 1'000).status()));
  }
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  EXPECT_TRUE(absl::IsInvalidArgument(ReadStrictJson(objects, 64, 1'000).status()));
}

TEST(StrictJsonTest, TheNumberOfValuesIsBounded) {
  const auto is_read = [](std::string_view text, std::size_t most) {
    return ReadStrictJson(text, 8, most).ok();
  };
  EXPECT_TRUE(is_read("[1,2,3]", 4));
  EXPECT_FALSE(is_read("[1,2,3]", 3));
  EXPECT_TRUE(is_read("1", 1));
  EXPECT_TRUE(is_read(R"(["a,b,[{\",,"])", 2)) << "what stands in a text counts for nothing";
  EXPECT_FALSE(is_read(R"(["a\\",1,2])", 3));
  std::string many = "[0";
  for (int i = 0; i < 1'000'000; ++i) many += ",0";
  EXPECT_FALSE(is_read(many + "]", 1'000));
}

}  // namespace
}  // namespace inferpool
