#include "worker/streams/counts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "shared/redis/names.h"
#include "tests/unit/shared/redis/redis_server.h"

namespace inferpool::streams {
namespace {

// Two cameras of shard 0, which is ours, and one of shard 1, which is not.
class CountsTest : public testing::Test {
 protected:
  CountsTest() : redis_(server_.Connect()), board_(*Scoreboard::Create(1, 1)) {
    settings_.shards = 2;
    leases_.Acquired(0, "token", Clock::now());
    for (const char* camera : {"busy", "calm"}) schedule_.Set(camera, 0, {});
    schedule_.Set("elsewhere", 1, {});
    CountsOf(board_, 0).owner = 1;
  }

  void Do(const Arguments& command) {
    const auto done = redis_.Call(command);
    ASSERT_TRUE(done.ok()) << done.status();
  }
  void Read() {
    const absl::Status status = ReadCounts(redis_, leases_, schedule_, settings_, board_);
    ASSERT_TRUE(status.ok()) << status;
  }

  RedisServer server_;
  Redis redis_;
  Scoreboard board_;
  Config::Streams settings_;
  Leases leases_{2};
  Schedule schedule_;
};

TEST_F(CountsTest, WhatRedisHasOfAShardIsToldByCamera) {
  const std::string ledger = LedgerKey(0);
  Do({"HSET", ledger, "busy:produced", "70", "busy:published", "69", "busy:pending", "1"});
  Do({"HSET", ledger, "calm:produced", "8", "calm:published", "8", "calm:epoch", "9"});
  Do({"HSET", ledger, "gone:produced", "900", "gone:published", "900"});
  const std::string frames = FramesKey(0, "busy");
  Do({"XADD", frames, "*", "picture", "a"});
  Do({"XADD", frames, "*", "picture", "b"});
  const std::string losses = LossesKey(0);
  Do({"HSET", losses, "all", "12", "group:slow", "5"});
  schedule_.Took(*schedule_.Find("busy"), 1, NowMs() - 5'000, Clock::now());
  Read();
  const StreamShard& counts = CountsOf(board_, 0);
  EXPECT_EQ(counts.ledger[0], 978U);
  EXPECT_EQ(counts.waiting, 2U);
  EXPECT_GE(counts.lag_ms, 5'000U);
  EXPECT_LT(counts.lag_ms, 60'000U);
  EXPECT_EQ(counts.results_lost, 12U);
  const auto cameras = board_.BusiestCameras();
  ASSERT_EQ(cameras.size(), 2U) << "one that is gone is not told";
  EXPECT_EQ(cameras[0].name.view(), "busy");
  EXPECT_EQ(cameras[0].frames[0], 70U);
  EXPECT_EQ(cameras[0].waiting, 2U);
  EXPECT_GE(cameras[0].lag_ms, 5'000U);
  EXPECT_EQ(cameras[1].name.view(), "calm");
  EXPECT_EQ(cameras[1].waiting, 0U);
  EXPECT_EQ(cameras[1].lag_ms, 0U);
}

// Pictures of many cameras would take Redis longer than it may take for anything.
TEST_F(CountsTest, NoEntryIsReadToKnowTheLag) {
  const std::string frames = FramesKey(0, "busy");
  const std::string picture(1'000'000, 'x');
  Do({"XADD", frames, "*", "picture", picture});
  Do({"CONFIG", "RESETSTAT"});
  Read();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  Read();
  EXPECT_GE(CountsOf(board_, 0).lag_ms, 20U) << "since it was seen";
  const auto stats = redis_.Call({"INFO", "commandstats"});
  EXPECT_EQ((**stats).Text().find("cmdstat_xrange"), std::string_view::npos);
}

TEST_F(CountsTest, AsManyCamerasAreNamedAsIsSaid) {
  settings_.metrics_cameras = 1;
  Do({"HSET", LedgerKey(0), "calm:produced", "8"});
  Read();
  ASSERT_EQ(board_.BusiestCameras().size(), 1U);
  EXPECT_EQ(board_.BusiestCameras()[0].name.view(), "calm");
  settings_.metrics_cameras = 0;
  Read();
  EXPECT_TRUE(board_.BusiestCameras().empty());
}

TEST_F(CountsTest, KeysOfOtherTypesCountAsNothing) {
  Do({"SET", FramesKey(0, "busy"), "no stream"});
  Do({"SET", LedgerKey(0), "no hash"});
  Do({"SET", LossesKey(0), "no hash"});
  Read();
  EXPECT_EQ(CountsOf(board_, 0).waiting, 0U);
  EXPECT_EQ(CountsOf(board_, 0).ledger[0], 0U);
  EXPECT_EQ(CountsOf(board_, 0).results_lost, 0U);
}

}  // namespace
}  // namespace inferpool::streams
