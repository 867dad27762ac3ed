#include "worker/streams/schedule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

// Cameras with so many frames each, taken by a process that has room for some.
class World {
 public:
  void Add(const std::string& id, int frames, CameraOptions options = {}) {
    schedule.Set(id, 0, std::move(options));
    frames_[id] = frames;
  }

  // One trip to Redis; returns the cameras whose frames were taken, and are done.
  std::vector<std::string> Trip(std::size_t count) {
    for (Camera* camera : schedule.ToLookAt(!schedule.has_ready(), now)) {
      schedule.Found(*camera, frames_[camera->id]);
    }
    std::vector<std::string> taken;
    for (Camera* camera : schedule.Next(count, 1 << 30, 1 << 30)) {
      EXPECT_GT(frames_[camera->id], 0) << camera->id;
      --frames_[camera->id];
      ++answered[camera->id];
      taken.push_back(camera->id);
      schedule.Took(*camera, 1'000, 1, now);
      EXPECT_TRUE(working_.insert(camera->id).second) << "two frames of one camera in work";
    }
    for (const std::string& id : taken) {
      working_.erase(id);
      schedule.Done(*schedule.Find(id));
    }
    return taken;
  }

  Schedule schedule;
  TimePoint now = kStart;
  std::map<std::string, int> answered;

 private:
  std::map<std::string, int> frames_;
  std::set<std::string> working_;
};

double Jain(const std::map<std::string, int>& answered) {
  double sum = 0;
  double squares = 0;
  for (const auto& [id, count] : answered) {
    sum += count;
    squares += static_cast<double>(count) * count;
  }
  return sum * sum / (static_cast<double>(answered.size()) * squares);
}

TEST(ScheduleTest, ALoudCameraTakesNothingFromTheQuietOnes) {
  World world;
  world.Add("loud", 1'000'000);
  for (int i = 0; i < 99; ++i) world.Add(fmt::format("quiet{}", i), 1'000);
  for (int trip = 0; trip < 1'000; ++trip) world.Trip(7);
  EXPECT_EQ(world.answered.size(), 100);
  EXPECT_GE(Jain(world.answered), 0.999);
}

TEST(ScheduleTest, ACameraHasOneFrameInWork) {
  Schedule schedule;
  schedule.Set("a", 0, {});
  schedule.Found(*schedule.Find("a"), 5);
  ASSERT_EQ(schedule.Next(9, 1 << 30, 1 << 30).size(), 1);
  EXPECT_TRUE(schedule.ToLookAt(true, kStart).empty());
  EXPECT_TRUE(schedule.Next(9, 1 << 30, 1 << 30).empty());
  schedule.Done(*schedule.Find("a"));
  EXPECT_EQ(schedule.ToLookAt(true, kStart).size(), 1);
}

TEST(ScheduleTest, HighPriorityGoesFirstAndLowIsNotStarved) {
  World world;
  world.Add("high", 1'000'000, {.priority = Priority::kHigh});
  world.Add("low", 1'000'000, {.priority = Priority::kLow});
  for (int i = 0; i < 8; ++i) world.Add(fmt::format("normal{}", i), 1'000'000);
  for (int trip = 0; trip < 4'000; ++trip) world.Trip(1);
  EXPECT_GE(world.answered["high"], 2'000);
  EXPECT_GE(world.answered["low"], 50);
  EXPECT_GE(world.answered["normal0"], 50);
}

TEST(ScheduleTest, ARateIsKeptAndReached) {
  World world;
  world.Add("limited", 1'000'000, {.rate = 5});
  world.Add("free", 1'000'000);
  for (int ms = 0; ms < 10'000; ms += 7) {
    world.now = kStart + milliseconds(ms);
    world.Trip(2);
  }
  EXPECT_GE(world.answered["limited"], 49);
  EXPECT_LE(world.answered["limited"], 52);
  EXPECT_GE(world.answered["free"], 1'400);
  EXPECT_TRUE(world.schedule.NextDue(world.now).has_value());
}

TEST(ScheduleTest, ARateOfNextToNothingIsKept) {
  World world;
  world.Add("rare", 1'000'000, {.rate = 1e-300});
  for (int s = 0; s < 60; ++s) {
    world.now = kStart + std::chrono::seconds(s);
    world.Trip(2);
  }
  EXPECT_EQ(world.answered["rare"], 1) << "a pause beyond all numbers is a long one, not none";
}

TEST(ScheduleTest, SoManyFramesAsFitIntoTheBytes) {
  Schedule schedule;
  for (int i = 0; i < 10; ++i) {
    const std::string id = fmt::format("{}", i);
    schedule.Set(id, 0, {});
    Camera& camera = *schedule.Find(id);
    schedule.Took(camera, 100'000, 1, kStart);
    schedule.Done(camera);
    schedule.Found(camera, 1);
  }
  EXPECT_EQ(schedule.Next(10, 350'000, 350'000).size(), 3);
  EXPECT_EQ(schedule.Next(10, 1, 1 << 30).size(), 1) << "the first may have more";
  EXPECT_EQ(schedule.needed(), 0U);
  EXPECT_TRUE(schedule.Next(10, 1, 99'999).empty()) << "nothing passes it by";
  EXPECT_EQ(schedule.needed(), 100'000U);
  EXPECT_EQ(schedule.Next(10, 1 << 30, 1 << 30).size(), 6);
  EXPECT_EQ(schedule.needed(), 0U);
}

TEST(ScheduleTest, AFrameThatWasTooLargeIsKnownToBe) {
  Schedule schedule;
  schedule.Set("a", 0, {});
  Camera& camera = *schedule.Find("a");
  schedule.Found(camera, 1);
  ASSERT_EQ(schedule.Next(1, 100'000, 100'000).size(), 1);
  schedule.TooLarge(camera, 6'000'000);
  EXPECT_EQ(schedule.ToLookAt(true, kStart).size(), 1) << "it still has it";
  schedule.Found(camera, 1);
  EXPECT_TRUE(schedule.Next(1, 100'000, 100'000).empty());
  EXPECT_EQ(schedule.needed(), 6'000'000U);
  EXPECT_EQ(schedule.Next(1, 100'000, 6'000'000).size(), 1);
}

TEST(ScheduleTest, CamerasComeAndGoWhileTheirFramesAreInWork) {
  Schedule schedule;
  schedule.Set("a", 0, {});
  schedule.Set("b", 0, {});
  schedule.Found(*schedule.Find("a"), 1);
  schedule.Found(*schedule.Find("b"), 1);
  ASSERT_EQ(schedule.Next(1, 1 << 30, 1 << 30).size(), 1);
  schedule.Keep([](const Camera&) { return false; });
  ASSERT_EQ(schedule.cameras().size(), 1);  // the one in work
  EXPECT_FALSE(schedule.has_ready());
  Camera& left = *schedule.Find(schedule.cameras().begin()->first);
  schedule.Done(left);
  EXPECT_TRUE(schedule.cameras().empty());
}

TEST(ScheduleTest, CamerasOfWhichNothingWasHeardAreLookedAtAgain) {
  Schedule schedule;
  for (const char* id : {"a", "b"}) {
    schedule.Set(id, 0, {});
    schedule.Found(*schedule.Find(id), 1);
  }
  ASSERT_EQ(schedule.Next(2, 1 << 30, 1 << 30).size(), 2);
  schedule.Took(*schedule.Find("a"), 1, 1, kStart);
  schedule.PutBack();
  const auto cameras = schedule.ToLookAt(true, kStart);
  ASSERT_EQ(cameras.size(), 1);
  EXPECT_EQ(cameras.front()->id, "b");
}

TEST(ScheduleTest, SinceWhenFramesWaitIsThatOfTheOneInWorkOrWhenOneWasSeen) {
  Schedule schedule;
  schedule.Set("a", 0, {.policy = Policy::kFifo});
  Camera& camera = *schedule.Find("a");
  schedule.Saw(camera, 2, 5'000);
  schedule.Saw(camera, 3, 7'000);
  EXPECT_EQ(camera.waits_since_ms, 5'000);
  schedule.Found(camera, 3);
  schedule.Took(camera, 1'000, 1'000, kStart);
  EXPECT_EQ(camera.waits_since_ms, 1'000) << "it had waited before we came";
  schedule.Done(camera);
  EXPECT_EQ(camera.waits_since_ms, 1'000) << "the next one is hardly younger";
  schedule.Found(camera, 1);
  schedule.Took(camera, 1'000, 2'000, kStart);
  schedule.Done(camera);
  EXPECT_EQ(camera.waits_since_ms, 0) << "there is no other";
  schedule.Saw(camera, 1, 9'000);
  EXPECT_EQ(camera.waits_since_ms, 9'000);
  schedule.Saw(camera, 0, 9'500);
  EXPECT_EQ(camera.waits_since_ms, 0);
}

TEST(ScheduleTest, DepthFollowsFromTheTimeOfAFrame) {
  EXPECT_EQ(Depth(2, 45'000), 3);   // a net on this machine: nothing waits for long
  EXPECT_EQ(Depth(8, 10'000), 16);  //
  EXPECT_GE(Depth(2, 100), 256);    // a trip carries many
  EXPECT_EQ(Depth(64, 1), 512);
}

TEST(ScheduleTest, WhatWasSeenOfACameraIsForgottenWithItAndKeptOtherwise) {
  Schedule schedule;
  schedule.Set("a", 0, {});
  EXPECT_EQ(schedule.Find("a")->gate, nullptr);
  schedule.Set("a", 0, {.motion = MotionSettings()});
  std::weak_ptr<MotionGate> gate = schedule.Find("a")->gate;
  ASSERT_FALSE(gate.expired());
  schedule.Set("a", 0, {.rate = 5, .motion = MotionSettings()});
  EXPECT_EQ(schedule.Find("a")->gate, gate.lock());
  schedule.Set("a", 0, {.motion = MotionSettings{.threshold = 20}});
  EXPECT_TRUE(gate.expired()) << "it would judge by other measures";
  gate = schedule.Find("a")->gate;
  ASSERT_FALSE(gate.expired());
  schedule.Keep([](const Camera&) { return false; });
  EXPECT_TRUE(gate.expired());
}

}  // namespace
}  // namespace inferpool::streams
