#include "ops/live/newest_answers.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool::live {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::shared_ptr<const Answer> Make(const std::string& camera, std::uint64_t id,
                                   const std::string& json = "{}") {
  return std::make_shared<const Answer>(Answer{.id = {id, 0}, .camera = camera, .json = json});
}

const TimePoint kStart = TimePoint(std::chrono::hours(5));

TEST(NewestAnswersTest, TheNewestOfEachCamera) {
  NewestAnswers newest;
  newest.Add(Make("b", 1), kStart);
  newest.Add(Make("a", 2), kStart);
  newest.Add(Make("b", 3), kStart);
  newest.Add(Make("b", 2), kStart);  // late
  EXPECT_EQ(newest.Find("b", kStart).newest->id, (EntryId{3, 0}));
  EXPECT_EQ(newest.Find("nobody", kStart).newest, nullptr);
  const auto all = newest.All(kStart);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].newest->camera, "a");
  EXPECT_EQ(all[1].newest->camera, "b");
}

TEST(NewestAnswersTest, TheRateIsThatOfTheLastTenSeconds) {
  NewestAnswers newest;
  TimePoint now = kStart;
  for (int i = 0; i < 300; ++i, now += milliseconds(200)) {
    newest.Add(Make("a", static_cast<std::uint64_t>(i)), now);
    if (i > 10) {
      EXPECT_NEAR(newest.Find("a", now).rate, 5, 0.6) << i;
    }
  }
  EXPECT_NEAR(newest.Find("a", now + seconds(5)).rate, 2.5, 0.6);
  EXPECT_EQ(newest.Find("a", now + seconds(11)).rate, 0);
  // After a pause what was before it does not come back.
  now += seconds(100);
  newest.Add(Make("a", 1'000), now);
  EXPECT_LT(newest.Find("a", now + seconds(9)).rate, 0.2);
}

TEST(NewestAnswersTest, WhatWasThereBeforeSaysNothingOfTheRate) {
  NewestAnswers newest;
  for (int i = 0; i < 100; ++i) newest.AddOld(Make("a", static_cast<std::uint64_t>(i)), kStart);
  EXPECT_EQ(newest.Find("a", kStart).rate, 0);
  newest.Add(Make("a", 200), kStart + milliseconds(100));
  EXPECT_NEAR(newest.Find("a", kStart + milliseconds(200)).rate, 1, 0.01);
}

TEST(NewestAnswersTest, WhoeverWasAnsweredLongestAgoMakesRoom) {
  NewestAnswers newest({.cameras = 3, .bytes = 1'000});
  for (std::uint64_t i = 0; i < 3; ++i) {
    newest.Add(Make(std::string(1, static_cast<char>('a' + i)), i), kStart + seconds(i));
  }
  newest.Add(Make("a", 10), kStart + seconds(4));
  newest.Add(Make("d", 11), kStart + seconds(5));
  EXPECT_EQ(newest.Find("b", kStart).newest, nullptr);
  EXPECT_NE(newest.Find("a", kStart).newest, nullptr);
  // By bytes, too; a single one may have more than all.
  newest.Add(Make("e", 12, std::string(990, 'x')), kStart + seconds(6));
  EXPECT_EQ(newest.All(kStart).size(), 3U);
  newest.Add(Make("e", 13, std::string(2'000, 'x')), kStart + seconds(6));
  EXPECT_EQ(newest.All(kStart).size(), 1U);
  EXPECT_NE(newest.Find("e", kStart).newest, nullptr);
  newest.Add(Make("f", 14), kStart + seconds(6));
  EXPECT_EQ(newest.All(kStart).size(), 1U);
  EXPECT_NE(newest.Find("f", kStart).newest, nullptr);
}

TEST(NewestAnswersTest, WhoIsSilentForLongIsForgotten) {
  NewestAnswers newest;
  newest.Add(Make("a", 1), kStart);
  newest.Add(Make("b", 1), kStart + seconds(1));
  newest.Tidy(kStart + NewestAnswers::kForgottenAfter + milliseconds(1));
  EXPECT_EQ(newest.Find("a", kStart).newest, nullptr);
  EXPECT_NE(newest.Find("b", kStart).newest, nullptr);
}

}  // namespace
}  // namespace inferpool::live
