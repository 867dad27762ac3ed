#include "worker/http/parameters.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::http {
namespace {

using testing::HasSubstr;

const Config::Predict kDefaults{.confidence = 0.25, .iou = 0.45, .max_detections = 300};

PredictParameters Parsed(std::string_view query) {
  const auto parsed = ParseParameters(query, {}, kDefaults);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    ADD_FAILURE() << query << ": " << problem->detail;
    return {};
  }
  return std::get<PredictParameters>(parsed);
}

// A 400 for `parameter` whose detail says `part`.
testing::AssertionResult Refuses(std::string_view query, const std::string& parameter,
                                 const std::string& part) {
  const auto parsed = ParseParameters(query, {}, kDefaults);
  const auto* problem = std::get_if<Problem>(&parsed);
  if (problem == nullptr) return testing::AssertionFailure() << query << " was taken";
  if (problem->status == 400 && problem->code == "bad-parameter" &&
      problem->parameter == parameter && problem->detail.find(part) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << query << ": " << problem->status << " "
                                     << problem->parameter << ": " << problem->detail;
}

TEST(ParametersTest, WhatIsNotNamedIsTheDefault) {
  for (const char* query : {"", "&", "&&&"}) {
    const PredictParameters parameters = Parsed(query);
    EXPECT_EQ(parameters.confidence, 0.25);
    EXPECT_EQ(parameters.iou, 0.45);
    EXPECT_EQ(parameters.max_detections, 300);
    EXPECT_FALSE(parameters.normalized);
  }
}

TEST(ParametersTest, EachIsRead) {
  const PredictParameters parameters =
      Parsed("confidence=0.5&iou=1&max_detections=7&coordinates=normalized");
  EXPECT_EQ(parameters.confidence, 0.5);
  EXPECT_EQ(parameters.iou, 1);
  EXPECT_EQ(parameters.max_detections, 7);
  EXPECT_TRUE(parameters.normalized);
  EXPECT_FALSE(Parsed("coordinates=pixel").normalized);
  EXPECT_EQ(Parsed("&&iou=0.1&").iou, 0.1);
}

TEST(ParametersTest, TheBoundsAreAllowed) {
  for (const auto& [text, value] : {std::pair("0", 0.0),
                                    {"1", 1.0},
                                    {"0.0", 0.0},
                                    {"1.000", 1.0},
                                    {".5", 0.5},
                                    {"1e-3", 0.001}}) {
    EXPECT_EQ(Parsed("confidence=" + std::string(text)).confidence, value) << text;
    EXPECT_EQ(Parsed("iou=" + std::string(text)).iou, value) << text;
  }
  EXPECT_EQ(Parsed("max_detections=1").max_detections, 1);
  EXPECT_EQ(Parsed("max_detections=300").max_detections, 300);
}

TEST(ParametersTest, NumbersOutOfRangeAreRefusedWithWhatIsAllowed) {
  for (const std::string name : {"confidence", "iou"}) {
    for (const char* value : {"-0.01", "1.01", "2", "1e9", "nan", "inf", "-inf", "1e999", "", "x",
                              "0.5x", "0,5", "+0.5", "0x1", "0.5 ", " 0.5", "0.5%00", "half"}) {
      EXPECT_TRUE(Refuses(name + "=" + value, name, "a number from 0 to 1"));
    }
    EXPECT_TRUE(Refuses(name, name, "a number from 0 to 1"));
  }
  for (const char* value : {"0", "-1", "301", "1.5", "99999999999999", "", "many", "1e2", "0x10"}) {
    EXPECT_TRUE(Refuses("max_detections=" + std::string(value), "max_detections",
                        "a whole number from 1 to 300"));
  }
  for (const char* value : {"", "pixels", "PIXEL", "normalized ", "relative"}) {
    EXPECT_TRUE(Refuses("coordinates=" + std::string(value), "coordinates", "pixel or normalized"));
  }
}

TEST(ParametersTest, TheRefusalShowsTheValue) {
  EXPECT_TRUE(Refuses("iou=2.5", "iou", "2.5"));
  EXPECT_TRUE(Refuses("iou=%3Cscript%3E", "iou", "<script>"));
}

TEST(ParametersTest, AnUnknownOneIsRefusedAndTheKnownAreNamed) {
  for (const std::string known : {"confidence", "iou", "max_detections", "coordinates"}) {
    EXPECT_TRUE(Refuses("conf=0.5", "conf", known));
  }
  EXPECT_TRUE(Refuses("Confidence=0.5", "Confidence", "confidence"));
  EXPECT_TRUE(Refuses("iou=0.5&x", "x", "x"));
  EXPECT_TRUE(Refuses("=0.5", "", "iou"));
  EXPECT_TRUE(Refuses("iou=0.5&confidence[]=1", "confidence[]", "confidence"));
}

TEST(ParametersTest, OneThatIsGivenTwiceIsRefused) {
  EXPECT_TRUE(Refuses("iou=0.5&iou=0.5", "iou", "twice"));
  EXPECT_TRUE(Refuses("iou=0.5&confidence=0.1&%69ou=0.6", "iou", "twice"));
}

TEST(ParametersTest, NamesAndValuesAreDecoded) {
  EXPECT_EQ(Parsed("i%6Fu=0%2e5").iou, 0.5);
  EXPECT_TRUE(Refuses("a%26b=1", "a&b", "a&b"));
  EXPECT_TRUE(Refuses("a+b=1", "a b", "a b"));
  EXPECT_TRUE(Refuses("a%2Bb=1", "a+b", "a+b"));
}

TEST(ParametersTest, TheFirstProblemIsTold) {
  EXPECT_TRUE(Refuses("iou=7&confidence=9", "iou", "7"));
}

TEST(ParametersTest, ThePartOfThePictureAndTheThingsAreRead) {
  const PredictParameters none = Parsed("");
  EXPECT_FALSE(none.roi || none.tiles || none.class_agnostic);
  EXPECT_EQ(none.tile_overlap, 0.2);
  const PredictParameters all = Parsed(
      "roi=-1.5,0,640,.5e3&classes=car,traffic%20light%2Cdog&confidence.car=0.6&"
      "confidence.traffic+light=0&class_agnostic=true&tiles=4x3&tile_overlap=0.5");
  EXPECT_EQ(all.roi, (Region{-1.5, 0, 640, 500}));
  EXPECT_EQ(all.classes, "car,traffic light,dog");
  EXPECT_EQ(all.class_confidence,
            (std::map<std::string, double>{{"car", 0.6}, {"traffic light", 0}}));
  EXPECT_TRUE(all.class_agnostic);
  EXPECT_EQ(all.tiles, (TileCount{4, 3}));
  EXPECT_EQ(all.tile_overlap, 0.5);
  EXPECT_EQ(all.confidence, 0.25);
  EXPECT_EQ(Parsed("tiles=auto").tiles, TileCount());
  EXPECT_EQ(Parsed("tiles=64x1").tiles, (TileCount{64, 1}));
  EXPECT_FALSE(Parsed("class_agnostic=false").class_agnostic);
}

TEST(ParametersTest, APartThatIsNoneIsRefusedWithWhatIsAllowed) {
  for (const char* value : {"", "1", "1,2,3", "1,2,3,4,5", "1,2,3,", ",,,", "a,b,c,d",
                            "10,20,10,30", "10,20,5,30", "10,20,30,20", "10,20,30,19", "1,2,nan,4",
                            "1,2,inf,4", "1,2,1e9,4", "1, 2,3,4", "1;2;3;4"}) {
    EXPECT_TRUE(Refuses("roi=" + std::string(value), "roi", "x1,y1,x2,y2")) << value;
  }
  for (const char* value : {"", "0x1", "1x0", "-1x2", "65x1", "8x9", "2", "2x", "x2", "2x2x2",
                            "2X2", "Auto", "2 x 2", "99999999999x1", "1.5x2"}) {
    EXPECT_TRUE(Refuses("tiles=" + std::string(value), "tiles", "64 tiles at most")) << value;
  }
  for (const char* value : {"", "0.51", "-0.1", "nan", "20%25"}) {
    EXPECT_TRUE(Refuses("tile_overlap=" + std::string(value), "tile_overlap", "from 0 to 0.5"));
  }
  for (const char* value : {"", "1", "yes", "True"}) {
    EXPECT_TRUE(Refuses("class_agnostic=" + std::string(value), "class_agnostic", "true or false"));
  }
  for (const char* value : {"", "1.1", "high"}) {
    EXPECT_TRUE(Refuses("confidence.car=" + std::string(value), "confidence.car", "from 0 to 1"));
  }
  EXPECT_TRUE(Refuses("classes=", "classes", "names or numbers"));
  EXPECT_TRUE(Refuses("classes=" + std::string(kMaxClassesBytes + 1, 'a'), "classes", "bytes"));
  EXPECT_TRUE(Refuses("confidence.car=0.5&confidence.car=0.5", "confidence.car", "twice"));
}

TEST(ParametersTest, ThresholdsOfClassesAreBounded) {
  std::string query;
  for (std::size_t i = 0; i < kMaxClassThresholds; ++i) query += fmt::format("confidence.{}=0&", i);
  EXPECT_EQ(Parsed(query).class_confidence.size(), kMaxClassThresholds);
  EXPECT_TRUE(Refuses(query + "confidence.one_more=0", "confidence.one_more", "at most"));
}

// What form fields make of a request besides its query: "iou 0.5", or the parameter that is
// refused.
std::string WithFields(std::string_view query, const std::vector<FormField>& fields) {
  const auto parsed = ParseParameters(query, fields, kDefaults);
  if (const auto* problem = std::get_if<Problem>(&parsed)) return problem->detail;
  return "iou " + fmt::format("{}", std::get<PredictParameters>(parsed).iou);
}

TEST(ParametersTest, FieldsOfAFormAreReadAsTheQueryIs) {
  EXPECT_EQ(WithFields("", {}), "iou 0.45");
  EXPECT_EQ(WithFields("", {{"iou", "0.5"}}), "iou 0.5");
  EXPECT_EQ(WithFields("confidence=0.1", {{"iou", "0.5"}, {"render", "png"}}), "iou 0.5");
  EXPECT_THAT(WithFields("", {{"iou", "banana"}}), HasSubstr("iou is \"banana\", allowed is"));
  EXPECT_THAT(WithFields("", {{"iou", ""}}), HasSubstr("allowed is"));
  EXPECT_THAT(WithFields("", {{"conf", "0.5"}}), HasSubstr("conf is no parameter"));
  EXPECT_THAT(WithFields("", {{"iou[]", "0.5"}}), HasSubstr("iou[] is no parameter"));
}

TEST(ParametersTest, ValuesOfAFormAreNotPercentEncoded) {
  EXPECT_THAT(WithFields("", {{"iou", "0%2e5"}}), HasSubstr("0%2e5"));
}

TEST(ParametersTest, OneThatIsInTheQueryAndTheFormIsRefused) {
  for (const char* value : {"0.5", "0.6"}) {
    EXPECT_THAT(WithFields("iou=0.5", {{"iou", value}}), HasSubstr("iou is given twice"));
  }
  EXPECT_THAT(WithFields("", {{"iou", "0.5"}, {"iou", "0.5"}}), HasSubstr("iou is given twice"));
}

// A field may be as long as the whole body.
TEST(ParametersTest, ARefusalShowsNoMoreThanTheBeginning) {
  const std::string longest(1'000'000, 'x');
  EXPECT_LT(WithFields("", {{"iou", longest}}).size(), 1'000U);
}

// The client must learn what is allowed even if its query is hostile.
TEST(ParametersTest, ARefusalIsWholeInTheAnswerWhateverTheQueryHolds) {
  for (const char* query : {"a%00b=1", "%00=1", "a\xff=1", "%22%5C%0A=1", "%E2%82=1"}) {
    const auto parsed = ParseParameters(query, {}, kDefaults);
    const auto* problem = std::get_if<Problem>(&parsed);
    ASSERT_NE(problem, nullptr) << query;
    const Json::Value json =
        test::ParseJson(Render(*problem, ProblemForm::kProblemJson, "id", "").body);
    EXPECT_NE(json["detail"].asString().find("max_detections"), std::string::npos)
        << query << ": " << json["detail"];
  }
}

TEST(PercentDecodeTest, UndoesTheEncoding) {
  EXPECT_EQ(PercentDecode(""), "");
  EXPECT_EQ(PercentDecode("plain"), "plain");
  EXPECT_EQ(PercentDecode("a+b%20c"), "a+b c");
  EXPECT_EQ(PercentDecode("%2B%2b%25"), "++%");
  EXPECT_EQ(PercentDecode("caf%C3%A9"), "caf\xc3\xa9");
  EXPECT_EQ(PercentDecode("%00"), std::string(1, '\0'));
  EXPECT_EQ(PercentDecode("%ff"), "\xff");
}

TEST(PercentDecodeTest, APercentSignWithoutTwoDigitsStays) {
  for (const char* text : {"%", "%4", "%zz", "%4g", "100%", "a%", "%%", "%-1"}) {
    EXPECT_EQ(PercentDecode(text), text);
  }
  EXPECT_EQ(PercentDecode("%%41"), "%A");
}

}  // namespace
}  // namespace inferpool::http
