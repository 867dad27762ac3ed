#include "worker/analyze/steps.h"

#include <gtest/gtest.h>

namespace inferpool::analyze {
namespace {

vision::Detection Found(int class_id, float confidence, float width, float height) {
  vision::Detection found;
  found.x2 = width;
  found.y2 = height;
  found.confidence = confidence;
  found.class_id = class_id;
  return found;
}

Config::Step Step() {
  Config::Step step;
  step.model = "next";
  return step;
}

const std::vector<std::string> kNames = {"car", "", "bus"};

TEST(ChooseTest, TakesTheMostConfidentOfAllListsFirst) {
  const vision::Detections one = {Found(0, 0.5F, 9, 9), Found(0, 0.9F, 9, 9)};
  const vision::Detections other = {Found(2, 0.9F, 9, 9), Found(2, 0.7F, 9, 9)};
  Config::Step step = Step();
  EXPECT_EQ(Choose({&one, &other}, kNames, step),
            (std::vector<Place>{{0, 1}, {1, 0}, {1, 1}, {0, 0}}));
  step.most = 3;
  EXPECT_EQ(Choose({&one, &other}, kNames, step), (std::vector<Place>{{0, 1}, {1, 0}, {1, 1}}));
  EXPECT_TRUE(Choose({}, kNames, step).empty());
}

TEST(ChooseTest, TakesOnlyTheClassesThatAreNamed) {
  const vision::Detections found = {Found(0, 0.9F, 9, 9), Found(1, 0.8F, 9, 9),
                                    Found(2, 0.7F, 9, 9), Found(7, 0.6F, 9, 9)};
  Config::Step step = Step();
  step.classes = {"bus"};
  EXPECT_EQ(Choose({&found}, kNames, step), (std::vector<Place>{{0, 2}}));
  step.classes = {"1", "7"};  // a class without a name goes by its number
  EXPECT_EQ(Choose({&found}, kNames, step), (std::vector<Place>{{0, 1}, {0, 3}}));
}

TEST(ChooseTest, LeavesOutWhatIsTooSmallOrTooUnsure) {
  vision::Detections found = {Found(0, 0.5F, 20, 9.9F), Found(0, 0.4999F, 20, 20),
                              Found(0, 0.5F, 20, 10)};
  found.push_back(Found(0, 0.8F, 20, 20));
  found.back().corners = {{0, 10}, {10, 0}, {15, 5}, {5, 15}};  // 14 x 7, turned
  Config::Step step = Step();
  step.min_confidence = 0.5;
  step.min_size = 10;
  EXPECT_EQ(Choose({&found}, kNames, step), (std::vector<Place>{{0, 2}}));
  step.min_size = 7;
  EXPECT_EQ(Choose({&found}, kNames, step), (std::vector<Place>{{0, 3}, {0, 0}, {0, 2}}));
}

}  // namespace
}  // namespace inferpool::analyze
