#include "worker/http/stage_times.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <thread>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::http {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(StageTimesTest, AStageThatWasNotReachedHasNoTime) {
  const StageTimes timings;
  for (std::size_t i = 0; i < kStages; ++i) {
    EXPECT_FALSE(timings.Get(static_cast<Stage>(i)).has_value());
  }
}

TEST(StageTimesTest, JsonHasEveryStageInMillisecondsAndInOrder) {
  StageTimes timings;
  timings.Set(Stage::kQueue, microseconds(210));
  timings.Set(Stage::kInfer, milliseconds(12'345));
  const std::string text = timings.Json();
  const Json::Value json = test::ParseJson(text);
  EXPECT_EQ(json.size(), kStages);
  EXPECT_DOUBLE_EQ(json["queue"].asDouble(), 0.21);
  EXPECT_DOUBLE_EQ(json["infer"].asDouble(), 12'345);
  EXPECT_TRUE(json["decode"].isNumeric());
  EXPECT_EQ(json["decode"].asDouble(), 0) << "not reached";
  std::size_t at = 0;
  for (const char* stage :
       {"queue", "read", "decode", "preprocess", "infer", "postprocess", "draw", "total"}) {
    const std::size_t found = text.find("\"" + std::string(stage) + "\":");
    ASSERT_NE(found, std::string::npos) << stage;
    EXPECT_GE(found, at) << stage;
    at = found;
  }
}

TEST(StageTimesTest, ServerTimingHasTheStagesThatWereReached) {
  StageTimes timings;
  EXPECT_EQ(timings.ServerTiming(), "");
  timings.Set(Stage::kTotal, milliseconds(20));
  EXPECT_EQ(timings.ServerTiming(), "total;dur=20.000");
  timings.Set(Stage::kQueue, microseconds(0));
  timings.Set(Stage::kDecode, microseconds(1'500));
  EXPECT_EQ(timings.ServerTiming(), "queue;dur=0.000, decode;dur=1.500, total;dur=20.000");
}

TEST(StageTimesTest, ServerTimingIsAsTheSpecificationWritesIt) {
  StageTimes timings;
  for (std::size_t i = 0; i < kStages; ++i) {
    timings.Set(static_cast<Stage>(i), microseconds(static_cast<long>(i) * 1'234'567));
  }
  const std::string metric = R"([a-z]+;dur=[0-9]+(\.[0-9]+)?)";
  EXPECT_TRUE(std::regex_match(timings.ServerTiming(), std::regex(metric + "(, " + metric + ")*")))
      << timings.ServerTiming();
}

TEST(StageTimerTest, SetsTheTimeOfItsLife) {
  StageTimes timings;
  {
    const StageTimer timer(timings, Stage::kDecode);
    EXPECT_FALSE(timings.Get(Stage::kDecode).has_value());
    std::this_thread::sleep_for(milliseconds(5));
  }
  ASSERT_TRUE(timings.Get(Stage::kDecode).has_value());
  EXPECT_GE(*timings.Get(Stage::kDecode), milliseconds(5));
  EXPECT_LT(*timings.Get(Stage::kDecode), milliseconds(2'000));
  EXPECT_FALSE(timings.Get(Stage::kInfer).has_value());
}

}  // namespace
}  // namespace inferpool::http
