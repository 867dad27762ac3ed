// The kinds of processes in the scoreboard.
#include <gtest/gtest.h>

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "shared/board/scoreboard.h"

namespace inferpool {
namespace {

using Room = Scoreboard::RoleRoom;

constexpr TimePoint kNow{std::chrono::hours(50)};
constexpr std::array<Room, 3> kRoles = {{{"worker", 0}, {"sidecar", 2}, {"beacon", 3}}};
constexpr int kBeacon = 2;

class ScoreboardRolesTest : public testing::Test {
 protected:
  ScoreboardRolesTest() {
    board_.SetRoles(kRoles);
    board_.Enter(kBeacon, 1, /*generation=*/4, kNow);
    board_.process(kBeacon, 1).pid = 71;
    board_.CountEnd(kBeacon, /*crashed=*/true);
  }

  RoleTotals Beacons() const { return board_.Sum(kNow).roles[kBeacon]; }

  const Scoreboard board_ = std::move(*Scoreboard::Create(2, 1));
};

TEST_F(ScoreboardRolesTest, EachRoleHasRowsAndCountsOfItsOwn) {
  EXPECT_EQ(Beacons().name.view(), "beacon");
  EXPECT_EQ(Beacons().by_state[static_cast<std::size_t>(ProcessState::kStarting)], 1U);
  EXPECT_EQ(Beacons().starts, 1U);
  EXPECT_EQ(Beacons().crashes, 1U);
  EXPECT_EQ(board_.processes(kBeacon).size(), 3U);
  EXPECT_EQ(board_.process(kBeacon, 1).generation.load(), 4U);
  EXPECT_EQ(FromNs(board_.process(kBeacon, 1).started_ns), kNow);
  for (const ProcessRow& row : board_.processes(1)) EXPECT_EQ(row.pid.load(), 0);
  EXPECT_EQ(board_.Sum(kNow).workers().starts, 0U);
}

TEST_F(ScoreboardRolesTest, OneThatLeftIsCountedNoLonger) {
  board_.Leave(kBeacon, 1);
  EXPECT_EQ(board_.process(kBeacon, 1).pid.load(), 0);
  EXPECT_EQ(Beacons().by_state[static_cast<std::size_t>(ProcessState::kStarting)], 0U);
  EXPECT_EQ(Beacons().starts, 1U);
}

TEST_F(ScoreboardRolesTest, TheNewProgramFindsTheSameTableAsItWas) {
  board_.SetRoles(kRoles);
  EXPECT_EQ(Beacons().starts, 1U);
  EXPECT_EQ(board_.process(kBeacon, 1).pid.load(), 71);
}

TEST_F(ScoreboardRolesTest, ARoleThatGotMoreRowsKeepsItsCounts) {
  board_.SetRoles(std::array<Room, 3>{{{"worker", 0}, {"sidecar", 2}, {"beacon", 5}}});
  EXPECT_EQ(board_.processes(kBeacon).size(), 5U);
  EXPECT_EQ(board_.process(kBeacon, 1).pid.load(), 0) << "its processes are entered again";
  EXPECT_EQ(Beacons().starts, 1U);
}

TEST_F(ScoreboardRolesTest, AnotherRoleBeginsAtZero) {
  board_.SetRoles(std::array<Room, 3>{{{"worker", 0}, {"sidecar", 2}, {"lamp", 3}}});
  EXPECT_EQ(Beacons().name.view(), "lamp");
  EXPECT_EQ(Beacons().starts, 0U);
  EXPECT_EQ(Beacons().crashes, 0U);
  EXPECT_EQ(board_.process(kBeacon, 1).pid.load(), 0);
  board_.SetRoles(std::span(kRoles).first(2));
  EXPECT_EQ(Beacons().name.view(), "");
  EXPECT_TRUE(board_.processes(kBeacon).empty());
}

TEST(ScoreboardSlotRolesTest, ARoleWithSlotsHasThemBehindTheWorkers) {
  constexpr int kPress = 2;
  const Scoreboard board = std::move(*Scoreboard::Create(2, 3));
  board.SetRoles(std::array<Room, 3>{{{"worker", 0}, {"sidecar", 2}, {"press", 0, 4}}});
  EXPECT_EQ(board.slots(), 2);
  EXPECT_EQ(board.SlotOf(kWorkerRole, 1), 1);
  EXPECT_EQ(board.SlotOf(1, 0), std::nullopt);
  ASSERT_EQ(board.SlotOf(kPress, 3), 5);
  EXPECT_EQ(board.Places(kPress), 4);

  board.Occupy(5, /*generation=*/7, /*threads=*/3, kNow);
  EXPECT_EQ(&board.process(kPress, 3), &board.slot(5).process);
  board.thread_slots(5)[0].Begin(kNow);
  const Totals totals = board.Sum(kNow);
  EXPECT_EQ(totals.roles[kPress].by_state[static_cast<std::size_t>(ProcessState::kStarting)], 1U);
  EXPECT_EQ(totals.roles[kPress].starts, 1U);
  EXPECT_EQ(totals.workers().starts, 0U);
  EXPECT_EQ(totals.in_work, 0U) << "it is no request";
  board.Vacate(5);
  EXPECT_EQ(board.Sum(kNow).roles[kPress].by_state[1], 0U);
  EXPECT_EQ(board.thread_slots(5)[0].busy_since_ns.load(), 0);
}

TEST(ScoreboardSlotRolesTest, ShardsThatThePoolHadAreTold) {
  const Scoreboard board = std::move(*Scoreboard::Create(1, 1));
  EXPECT_TRUE(board.Sum(kNow).stream_shards.empty());
  StreamShard& shard = board.pool().stream_shards[7];
  shard.Count(StreamEvent::kLeaseChange);
  shard.Count(StreamEvent::kRead, 3);
  shard.waiting = 5;
  const Totals totals = board.Sum(kNow);
  ASSERT_EQ(totals.stream_shards.size(), 1U);
  EXPECT_EQ(totals.stream_shards[0].shard, 7);
  EXPECT_EQ(totals.stream_shards[0].events[static_cast<std::size_t>(StreamEvent::kRead)], 3U);
  EXPECT_EQ(totals.stream_shards[0].waiting, 5U);
  EXPECT_FALSE(totals.stream_shards[0].owned);
}

TEST(ScoreboardSlotRolesTest, TheBusiestCamerasOfAllShardsAreNamed) {
  const Scoreboard board = std::move(*Scoreboard::Create(1, 1));
  const auto set = [&](std::size_t shard, std::size_t row, std::string_view name,
                       std::uint64_t frames) {
    StreamCamera camera;
    camera.name = FixedText<129>(name);
    camera.frames.front() = frames;
    board.pool().stream_shards[shard].busiest[row].Store(camera);
  };
  set(3, 0, "busy", 90);
  set(3, 1, "calm", 10);
  set(8, 0, "fair", 50);
  set(9, 0, "elsewhere", 99);
  for (const std::size_t shard : {3, 8}) board.pool().stream_shards[shard].owner = 1;
  EXPECT_TRUE(board.BusiestCameras().empty()) << "none is to be named";
  board.pool().named_cameras = 2;
  const std::vector<StreamCamera> cameras = board.BusiestCameras();
  ASSERT_EQ(cameras.size(), 2U);
  EXPECT_EQ(cameras[0].name.view(), "busy");
  EXPECT_EQ(cameras[1].name.view(), "fair");
}

TEST(ScoreboardSlotRolesTest, TripsAreCountedByTheirSize) {
  const Scoreboard board = std::move(*Scoreboard::Create(1, 1));
  StreamProcess& process = board.slot(1).streams;
  for (const std::uint64_t frames : {0, 1, 3, 4, 500}) process.CountTrip(StreamWay::kOut, frames);
  const TripSizesTotal trips = board.Sum(kNow).stream_trips[1];
  EXPECT_EQ(trips.frames, 508U);
  EXPECT_EQ(trips.buckets[0], 2U) << "of none, and of one";
  EXPECT_EQ(trips.buckets[2], 2U);
  EXPECT_EQ(trips.buckets.back(), 1U);
}

TEST(ScoreboardRolesDeathTest, MoreRowsThanThereAreAbort) {
  const auto board = Scoreboard::Create(1, 1);
  ASSERT_TRUE(board.ok());
  const std::array<Room, 2> roles = {{{"worker", 0}, {"crowd", kProcessRows + 1}}};
  EXPECT_DEATH(board->SetRoles(roles), "");
}

}  // namespace
}  // namespace inferpool
