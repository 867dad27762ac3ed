#include "worker/kserve_http/elements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inferpool::kserve_http {
namespace {

using testing::HasSubstr;
using Shape = std::vector<std::int64_t>;

template <typename T>
std::string Raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string Bytes(const std::vector<std::string>& elements) {
  std::string raw;
  for (const std::string& element : elements) AppendBytesElement(element, raw);
  return raw;
}

std::string Read(std::string_view json, inference::DataType datatype, const Shape& shape) {
  const auto raw = ReadElements(json, datatype, shape);
  EXPECT_TRUE(raw.ok()) << json << ": " << raw.status();
  return raw.value_or("");
}

std::string Write(inference::DataType datatype, const Shape& shape, std::string_view raw) {
  TensorView tensor;
  tensor.datatype = datatype;
  tensor.shape = shape;
  tensor.data = std::as_bytes(std::span(raw));
  std::string json;
  const absl::Status status = WriteElements(tensor, json);
  EXPECT_TRUE(status.ok()) << status;
  return json;
}

TEST(ElementsTest, EachDatatypeHasItsElements) {
  EXPECT_EQ(Read("[true,false]", inference::TYPE_BOOL, {2}), std::string("\1\0", 2));
  EXPECT_EQ(Read("[0,255]", inference::TYPE_UINT8, {2}), Raw<std::uint8_t>({0, 255}));
  EXPECT_EQ(Read("[65535]", inference::TYPE_UINT16, {1}), Raw<std::uint16_t>({65535}));
  EXPECT_EQ(Read("[4294967295]", inference::TYPE_UINT32, {1}), Raw<std::uint32_t>({4294967295}));
  EXPECT_EQ(Read("[18446744073709551615]", inference::TYPE_UINT64, {1}),
            Raw<std::uint64_t>({std::numeric_limits<std::uint64_t>::max()}));
  EXPECT_EQ(Read("[-128,127]", inference::TYPE_INT8, {2}), Raw<std::int8_t>({-128, 127}));
  EXPECT_EQ(Read("[-32768]", inference::TYPE_INT16, {1}), Raw<std::int16_t>({-32768}));
  EXPECT_EQ(Read("[-2147483648]", inference::TYPE_INT32, {1}),
            Raw<std::int32_t>({std::numeric_limits<std::int32_t>::min()}));
  EXPECT_EQ(Read("[-9223372036854775808,9007199254740993]", inference::TYPE_INT64, {2}),
            Raw<std::int64_t>({std::numeric_limits<std::int64_t>::min(), 9007199254740993}));
  EXPECT_EQ(Read("[0.1, 1, -2e3, 16777217]", inference::TYPE_FP32, {4}),
            Raw<float>({0.1F, 1, -2000, 16777216}));
  EXPECT_EQ(Read("[0.1, 5e-324]", inference::TYPE_FP64, {2}), Raw<double>({0.1, 5e-324}));
  EXPECT_EQ(Read(R"(["", "a\u00e9\ud83d\ude00\n\u0000"])", inference::TYPE_STRING, {2}),
            Bytes({"", std::string("a\xc3\xa9\xf0\x9f\x98\x80\n\0", 9)}));
}

TEST(ElementsTest, AFloatIsRoundedOnce) {
  // Halfway between two floats as a double, above it as a text.
  EXPECT_EQ(Read("[1.00000005960464477540]", inference::TYPE_FP32, {1}),
            Raw<float>({std::nextafter(1.0F, 2.0F)}));
}

TEST(ElementsTest, WhatIsTooSmallIsZeroAndWhatIsTooLargeIsRefused) {
  EXPECT_EQ(Read("[1e-60, -1e-9999]", inference::TYPE_FP32, {2}), Raw<float>({0, -0.0F}));
  EXPECT_EQ(Read("[1e-999]", inference::TYPE_FP64, {1}), Raw<double>({0}));
  EXPECT_FALSE(ReadElements("[1e39]", inference::TYPE_FP32, Shape{1}).ok());
  EXPECT_FALSE(ReadElements("[-1e309]", inference::TYPE_FP64, Shape{1}).ok());
}

TEST(ElementsTest, NanAndInfinitiesAreReadAsTritonReadsThem) {
  const std::string raw = Read("[NaN, Infinity, -Infinity, Inf, -Inf]", inference::TYPE_FP32, {5});
  float values[5];
  ASSERT_EQ(raw.size(), sizeof(values));
  std::memcpy(values, raw.data(), sizeof(values));
  EXPECT_TRUE(std::isnan(values[0]));
  for (const int i : {1, 3}) EXPECT_EQ(values[i], std::numeric_limits<float>::infinity());
  for (const int i : {2, 4}) EXPECT_EQ(values[i], -std::numeric_limits<float>::infinity());
  EXPECT_FALSE(ReadElements("[NaN]", inference::TYPE_INT32, Shape{1}).ok());
}

TEST(ElementsTest, NestingFollowsTheShapeOrThereIsNone) {
  const std::string six = Raw<std::int32_t>({1, 2, 3, 4, 5, 6});
  const Shape shape = {1, 2, 3};
  for (const char* json :
       {"[1,2,3,4,5,6]", "[[[1,2,3],[4,5,6]]]", " [ [ [1 ,2,3]\n,[4,5,6]\t]]\r "}) {
    EXPECT_EQ(Read(json, inference::TYPE_INT32, shape), six) << json;
  }
  EXPECT_EQ(Read("[7]", inference::TYPE_INT32, {}), Raw<std::int32_t>({7}));
  EXPECT_EQ(Read("[]", inference::TYPE_INT32, {0}), "");
  EXPECT_EQ(Read("[[],[]]", inference::TYPE_INT32, {2, 0}), "");
  EXPECT_EQ(Read("[]", inference::TYPE_INT32, {2, 0}), "");
  for (const char* json : {"[[1,2,3],[4,5,6]]", "[[[1,2],[3,4],[5,6]]]", "[[[1,2,3,4],[5,6]]]",
                           "[[[1,2,3]],[[4,5,6]]]", "[1,2,3,[4,5,6]]", "[[[1,2,3],4,5,6]]",
                           "[[[[1,2,3],[4,5,6]]]]", "[[1,2,3,4,5,6]]"}) {
    const auto raw = ReadElements(json, inference::TYPE_INT32, shape);
    ASSERT_TRUE(absl::IsInvalidArgument(raw.status())) << json;
    EXPECT_THAT(std::string(Message(raw.status())), HasSubstr("[1,2,3]")) << json;
  }
}

TEST(ElementsTest, WhatIsNoArrayOfElementsIsRefused) {
  for (const char* json : {"",
                           "1",
                           "{}",
                           "[",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "[1,2]]",
                           "[1,2],",
                           "[1,2]x",
                           "]",
                           "[1;2]",
                           "[01,2]",
                           "[+1,2]",
                           "[1.0,2]",
                           "[1e0,2]",
                           "[.5,1]",
                           "[1.,2]",
                           "[0x1,2]",
                           "[-,2]",
                           "[null,1]",
                           "[true,1]",
                           "[\"1\",2]",
                           "[{},1]",
                           "[1,2,3]",
                           "[1]",
                           "[]",
                           "[2147483648,1]",
                           "[-2147483649,1]",
                           "[99999999999999999999999,1]",
                           "[\xff,1]"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(ReadElements(json, inference::TYPE_INT32, Shape{2}).status()))
        << json;
  }
  for (const char* json : {"[-1]", "[256]", "[-0]", "[1.5]"}) {
    EXPECT_FALSE(ReadElements(json, inference::TYPE_UINT8, Shape{1}).ok()) << json;
  }
  for (const char* json : {"[1]", "[\"true\"]", "[True]", "[null]", "[truefalse]"}) {
    EXPECT_FALSE(ReadElements(json, inference::TYPE_BOOL, Shape{1}).ok()) << json;
  }
  for (const char* json :
       {"[1]", "[\"a]", "[\"\\x\"]", "[\"\\ud800\"]", "[\"\\udc00\"]", "[\"\\ud800\\u0041\"]",
        "[\"\\u12\"]", "[\"\xff\"]", "[\"\n\"]", "[\"\\"}) {
    EXPECT_FALSE(ReadElements(json, inference::TYPE_STRING, Shape{1}).ok()) << json;
  }
}

TEST(ElementsTest, ShapesThatCannotBeCostNothing) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  for (const Shape& shape : {Shape{kHuge}, Shape{kHuge, kHuge}, Shape{-1}, Shape{kHuge, 0, -2}}) {
    for (const auto datatype : {inference::TYPE_FP64, inference::TYPE_STRING}) {
      EXPECT_TRUE(absl::IsInvalidArgument(ReadElements("[1]", datatype, shape).status()));
    }
  }
}

TEST(ElementsTest, DeepNestingIsRefusedWithoutAStack) {
  const std::string deep(5'000'000, '[');
  EXPECT_FALSE(ReadElements(deep, inference::TYPE_INT32, Shape{1}).ok());
  const Shape ones(60, 1);
  const std::string sixty = std::string(60, '[') + "3" + std::string(60, ']');
  EXPECT_EQ(Read(sixty, inference::TYPE_INT32, ones), Raw<std::int32_t>({3}));
}

TEST(ElementsTest, HalfFloatsHaveNoFormInJson) {
  for (const auto datatype : {inference::TYPE_FP16, inference::TYPE_BF16}) {
    EXPECT_THAT(std::string(Message(ReadElements("[1]", datatype, Shape{1}).status())),
                HasSubstr("binary"));
    TensorView tensor;
    tensor.datatype = datatype;
    std::string json;
    EXPECT_TRUE(absl::IsInvalidArgument(WriteElements(tensor, json)));
  }
}

TEST(ElementsTest, ElementsAreWrittenShortAndExact) {
  EXPECT_EQ(Write(inference::TYPE_BOOL, {3}, std::string("\0\1\2", 3)), "[false,true,true]");
  EXPECT_EQ(Write(inference::TYPE_UINT8, {2}, Raw<std::uint8_t>({0, 255})), "[0,255]");
  EXPECT_EQ(Write(inference::TYPE_INT8, {2}, Raw<std::int8_t>({-128, 127})), "[-128,127]");
  EXPECT_EQ(Write(inference::TYPE_INT64, {1}, Raw<std::int64_t>({9007199254740993})),
            "[9007199254740993]");
  EXPECT_EQ(Write(inference::TYPE_UINT64, {1},
                  Raw<std::uint64_t>({std::numeric_limits<std::uint64_t>::max()})),
            "[18446744073709551615]");
  EXPECT_EQ(Write(inference::TYPE_FP32, {4}, Raw<float>({0.1F, 1, -0.0F, 1e30F})),
            "[0.1,1.0,-0.0,1e+30]");
  EXPECT_EQ(Write(inference::TYPE_FP64, {2}, Raw<double>({0.1, -1e-300})), "[0.1,-1e-300]");
  EXPECT_EQ(Write(inference::TYPE_FP32, {3},
                  Raw<float>({std::nanf(""), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()})),
            "[NaN,Infinity,-Infinity]");
  EXPECT_EQ(Write(inference::TYPE_STRING, {2}, Bytes({"", "\"\xc3\xa9\n"})),
            R"(["","\"\u00e9\u000a"])");
  EXPECT_EQ(Write(inference::TYPE_INT32, {0}, ""), "[]");
}

TEST(ElementsTest, BytesThatAreNoTextAreNotWritten) {
  const std::string raw = Bytes({"a", "\xff"});
  const Shape shape = {2};
  TensorView tensor;
  tensor.datatype = inference::TYPE_STRING;
  tensor.shape = shape;
  tensor.data = std::as_bytes(std::span(raw));
  std::string json;
  EXPECT_THAT(std::string(Message(WriteElements(tensor, json))), HasSubstr("element 1"));
}

TEST(ElementsTest, FloatsOfAllKindsComeBack) {
  std::mt19937 random(7);
  std::vector<float> floats;
  while (floats.size() < 20'000) {
    const auto bits = static_cast<std::uint32_t>(random());
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isfinite(value)) floats.push_back(value);
  }
  const std::string raw = Raw(floats);
  const Shape shape = {20'000};
  EXPECT_EQ(Read(Write(inference::TYPE_FP32, shape, raw), inference::TYPE_FP32, shape), raw);
}

TEST(ElementsTest, ReadingAndWritingEndWithThePatience) {
  const Patience over{.deadline = Deadline(Clock::now())};
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(ReadElements("[1]", inference::TYPE_FP32, Shape{1}, over).status()));
  const float value = 1;
  const Shape shape{1};
  std::string json;
  const TensorView tensor{.name = "x",
                          .datatype = inference::TYPE_FP32,
                          .shape = shape,
                          .data = std::as_bytes(std::span(&value, 1))};
  EXPECT_TRUE(absl::IsDeadlineExceeded(WriteElements(tensor, json, over)));
}

TEST(ElementsTest, AnErrorQuotesTheTokenAtFaultAndNothingBehindIt) {
  const auto refusal = [](std::string_view json, inference::DataType datatype) {
    return std::string(ReadElements(json, datatype, {{2}}).status().message());
  };
  const std::vector<std::pair<std::string, std::string>> faults = {
      {R"([x1,4711])", R"("x1" is no INT32)"},
      {R"([x1 ,4711])", R"("x1" is no INT32)"},
      {R"(["a",4711])", R"("\"a\"" is no INT32)"},
      {R"(["a\"b",4711])", R"("\"a\\\"b\"" is no INT32)"},
      {"[\"a\n\",4711]", R"("\"a" is no INT32)"},
      {R"([{"a":4711},1])", R"("{" is no INT32)"},
      {R"([,4711])", R"("," is no INT32)"},
      {R"([1.5,4711])", R"("1.5" is no whole number)"},
      {R"([99999999999,4711])", R"("99999999999" is out of the range)"},
      {R"([1 2,4711])", R"(there is "2" where)"},
      {R"([1x,4711])", R"(there is "x" where)"},
      {R"([1"a",4711])", R"(there is "\"a\"" where)"},
      {"[\xc3\xa4,4711]", R"("\u00e4" is no INT32)"},
      {R"([abcdefghijklmnopqrstuvwxyz,4711])", R"("abcdefghijklmnopqrstuvwx" is no INT32)"},
      {"[", R"("" is no INT32)"},
  };
  for (const auto& [json, expected] : faults) {
    const std::string text = refusal(json, inference::TYPE_INT32);
    EXPECT_NE(text.find(expected), std::string::npos) << json << ": " << text;
    EXPECT_EQ(text.find("4711"), std::string::npos) << json << ": " << text;
  }
  EXPECT_EQ(refusal(R"([tru,false])", inference::TYPE_BOOL).find("false"), std::string::npos);
  EXPECT_EQ(refusal(R"(["\q","next"])", inference::TYPE_STRING).find("next"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::kserve_http
