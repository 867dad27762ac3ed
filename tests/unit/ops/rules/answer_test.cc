#include "ops/rules/answer.h"

#include <gtest/gtest.h>

#include <vector>

namespace inferpool::rules {
namespace {

std::vector<Field> Fields(std::string_view status, std::string_view json) {
  return {{"camera", "door-3"}, {"frame", "5-0"},    {"seq", "42"},   {"status", status},
          {"json", json},       {"captured", "100"}, {"read", "101"}, {"answered", "102"}};
}

constexpr std::string_view kPerson =
    R"({"model":{"name":"objects","version":"1"},"image":{"width":640,"height":480},"detections":[)"
    R"({"box":{"x1":64.00,"y1":48.00,"x2":128.00,"y2":240.00},"confidence":0.9000,"class_id":0,)"
    R"("class_name":"person"}],"timing_ms":{"total":3.1},"request_id":"a"})";

TEST(AnswerTest, WhatAnEntryHas) {
  const auto answer = ParseAnswer("1764490000123-7", Fields("200", kPerson));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->entry, "1764490000123-7");
  EXPECT_EQ(answer->at_ms, 1'764'490'000'123);
  EXPECT_EQ(answer->camera, "door-3");
  EXPECT_EQ(answer->frame, "5-0");
  EXPECT_EQ(answer->seq, "42");
  EXPECT_EQ(answer->captured_ms, 100);
  EXPECT_EQ(answer->answered_ms, 102);
}

TEST(AnswerTest, ASeqThatIsNoNumberIsLeftOut) {
  for (const char* seq : {"", "4 2", "042", "-1", "1e3", "99999999999999999999", "\"},"}) {
    auto fields = Fields("200", kPerson);
    fields[2].second = seq;
    EXPECT_EQ(ParseAnswer("1-0", fields)->seq, "") << seq;
  }
}

TEST(AnswerTest, ProblemsAndStillFramesHaveNothingToJudge) {
  EXPECT_FALSE(ParseAnswer("1-0", Fields("503", R"({"code":"model-away","detections":[]})")));
  EXPECT_FALSE(ParseAnswer("1-0", Fields("200", R"({"still":true,"since":"4-0"})")));
  EXPECT_FALSE(ParseAnswer("1-0", Fields("200", R"({"embedding":[1,2]})")));
  EXPECT_FALSE(ParseAnswer("1-0", {}));
}

TEST(FindingsTest, BoxesAreSharesOfThePicture) {
  const auto findings = FindingsOf(kPerson);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].class_name, "person");
  EXPECT_EQ(findings[0].confidence, 0.9);
  ASSERT_TRUE(findings[0].box);
  EXPECT_DOUBLE_EQ(findings[0].box->x1, 0.1);
  EXPECT_DOUBLE_EQ(findings[0].box->y1, 0.1);
  EXPECT_DOUBLE_EQ(findings[0].box->x2, 0.2);
  EXPECT_DOUBLE_EQ(findings[0].box->y2, 0.5);
}

TEST(FindingsTest, NormalizedBoxesStayAsTheyAre) {
  const auto findings = FindingsOf(
      R"({"image":{"width":640,"height":480},"detections":[{"box":{"x1":0.1,"y1":0.2,"x2":0.3,)"
      R"("y2":0.999},"confidence":1,"class_name":"cat"}]})");
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_DOUBLE_EQ(findings[0].box->y2, 0.999);
}

TEST(FindingsTest, ClassesHaveNoBox) {
  const auto findings =
      FindingsOf(R"({"classes":[{"confidence":0.5,"class_id":1,"class_name":"rain"}]})");
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_FALSE(findings[0].box);
}

TEST(FindingsTest, WhatIsNoAnswerHasNone) {
  for (const char* text : {"", "[]", "{", R"({"detections":5})", R"({"detections":[5,{"box":1}]})",
                           R"({"detections":[{"class_name":5}]})"}) {
    EXPECT_TRUE(FindingsOf(text).empty()) << text;
  }
}

TEST(FindingsTest, WithoutThePicturesSizeNobodyKnowsWhereABoxInPixelsIs) {
  const auto findings = FindingsOf(
      R"({"detections":[{"box":{"x1":1,"y1":2,"x2":30,"y2":9},"confidence":1,"class_name":"a"}]})");
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_FALSE(findings[0].box);
}

}  // namespace
}  // namespace inferpool::rules
