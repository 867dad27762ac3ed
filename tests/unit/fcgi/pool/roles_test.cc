// The table of roles: a row of a test's own is all that a new kind of process takes.
#include "fcgi/pool/roles.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fcgi/pool/config_change.h"
#include "tests/unit/fcgi/pool/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::World;

constexpr int kBeacon = 3;
constexpr int kWorkerSlots = 6;

// The workers, one that leaves after them, one of another program, and the row under test, which
// leaves in between and has its own limits.
RoleTable WithBeacons() {
  return {{.name = "worker",
           .seats = [](const Config& config) { return config.workers; },
           .max_seats = 512,
           .replaced_by = {ReloadEffect::kWorkers, ReloadEffect::kAll},
           .run = {}},
          {.name = "sidecar",
           .seats = [](const Config&) { return 1; },
           .replaced_by = {ReloadEffect::kAll},
           .policy = {.leave_turn = 2, .drain = seconds(5), .rolls_last = true},
           .run = {}},
          {.name = "modelserver",
           .seats = [](const Config& config) { return config.modelserver.enabled ? 1 : 0; },
           .replaced_by = {ReloadEffect::kModels, ReloadEffect::kAll},
           .other_program = true,
           .policy = {.successor_first = false, .leave_turn = 2, .drain = seconds(5)},
           .run = {}},
          {.name = "beacon",
           .seats = [](const Config& config) { return config.threads; },
           .max_seats = 3,
           .replaced_by = {ReloadEffect::kModels},
           .policy = {.successor_first = false,
                      .leave_turn = 1,
                      .drain = seconds(7),
                      .restart_every = seconds(10),
                      .restart_burst = 1},
           .run = {}}};
}

Config OneOfEach() {
  Config config;
  config.workers = config.threads = 1;
  config.modelserver.enabled = true;
  return config;
}

class RolesTest : public testing::Test {
 protected:
  World Begun(const Config& config = OneOfEach()) const {
    World world(SupervisedRoles(roles_, config, kWorkerSlots, /*generation=*/1));
    world.Begin();
    return world;
  }

  const RoleTable roles_ = WithBeacons();
};

TEST_F(RolesTest, EachRowIsStartedWithItsSeats) {
  Config config = OneOfEach();
  config.threads = 2;
  World world(SupervisedRoles(roles_, config, kWorkerSlots, /*generation=*/1));
  EXPECT_EQ(world.Step(), "start w0 g1, start s0 g1, start m0 g1, start x0 g1, start x1 g1");
}

TEST_F(RolesTest, OneThatCrashedIsReplacedWithinItsOwnBudget) {
  World world = Begun();
  world.End("x0");
  EXPECT_EQ(world.Step(), "start x0 g1");
  world.Ready("x0");
  world.End("x0");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.supervisor().BackingOff(kBeacon, world.now()), 1);
  EXPECT_EQ(world.UntilDue(), milliseconds(10'000));
  EXPECT_EQ(world.StepAtNextDue(), "start x0 g1");
  world.End("w0");
  EXPECT_EQ(world.Step(), "start w0 g1") << "the others have theirs";
}

TEST_F(RolesTest, EachIsStoppedInItsTurnAndHasItsTime) {
  World world = Begun();
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(30'000));
  world.End("w0");
  EXPECT_EQ(world.Step(), "terminate x0");
  EXPECT_EQ(world.UntilDue(), milliseconds(7'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill x0");
  world.End("x0");
  EXPECT_EQ(world.Step(), "terminate s0, terminate m0");
  world.End("s0");
  world.End("m0");
  EXPECT_TRUE(world.supervisor().Done());
}

TEST_F(RolesTest, AReloadReplacesThoseWhoseRowSaysSo) {
  const Config before = OneOfEach();
  Config after = before;
  after.predict.iou = 0.5;  // the workers'
  World world = Begun();
  world.supervisor().Roll(Compare(roles_, before, after).roll, 2);
  EXPECT_EQ(world.Settle(), "successor w1 g2, terminate w0");
  after = before;
  after.modelserver.poll_s = before.modelserver.poll_s + 1;  // the models'
  world.supervisor().Roll(Compare(roles_, before, after).roll, 3);
  EXPECT_EQ(world.Settle(), "terminate m0, terminate x0, start m0 g3, start x0 g3");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST_F(RolesTest, ARowWithASuccessorFirstHasItStartedFirst) {
  RoleTable roles = WithBeacons();
  roles[kBeacon].policy.successor_first = true;
  World world(SupervisedRoles(roles, OneOfEach(), kWorkerSlots, /*generation=*/1));
  world.Begin();
  world.supervisor().Roll({kBeacon}, 2);
  EXPECT_EQ(world.Settle(), "successor x1 g2, terminate x0");
}

TEST_F(RolesTest, OneThatLeavesFirstIsGoneBeforeAnotherIsStarted) {
  Config config = OneOfEach();
  config.threads = 2;
  World world = Begun(config);
  world.supervisor().Roll({kBeacon}, 2);
  EXPECT_EQ(world.Step(), "terminate x0") << "though there is a free place";
  world.End("x0");
  EXPECT_EQ(world.Step(), "start x0 g2");
  world.Ready("x0");
  EXPECT_EQ(world.Step(), "terminate x1");
  world.End("x1");
  EXPECT_EQ(world.Step(), "start x1 g2");
}

TEST_F(RolesTest, SeveralThatRollLastDoNotWaitForEachOther) {
  RoleTable roles = WithBeacons();
  roles[kBeacon].policy.rolls_last = true;
  World world(SupervisedRoles(roles, OneOfEach(), kWorkerSlots, /*generation=*/1));
  world.Begin();
  world.supervisor().Roll({0, 1, kBeacon}, 2);
  world.Settle();
  EXPECT_TRUE(world.supervisor().Settled());
  EXPECT_EQ(world.Running().find("g1"), world.Running().find("m0g1") + 2) << world.Running();
}

TEST_F(RolesTest, ANewProgramReplacesThoseThatRunIt) {
  EXPECT_EQ(RolesOfThisProgram(roles_), (std::vector<int>{0, 1, kBeacon}));
}

TEST_F(RolesTest, TitlesHaveANumberWhereThereMayBeSeveral) {
  EXPECT_EQ(Title(roles_, {0, 3}), "worker 3");
  EXPECT_EQ(Title(roles_, {1, 1}), "sidecar");
  EXPECT_EQ(Title(roles_, {kBeacon, 2}), "beacon 2");
}

TEST_F(RolesTest, EachHasItsNameAndItsRowsInTheScoreboard) {
  const auto board = Scoreboard::Create(kWorkerSlots, 1);
  ASSERT_TRUE(board.ok());
  SetRoles(roles_, *board);
  const Totals totals = board->Sum(Clock::now());
  EXPECT_EQ(totals.workers().name.view(), "worker");
  EXPECT_EQ(totals.roles[kBeacon].name.view(), "beacon");
  EXPECT_EQ(totals.roles[kBeacon + 1].name.view(), "");
  EXPECT_EQ(&board->process(0, 2), &board->slot(2).process);
  EXPECT_EQ(board->processes(1).size(), 2U) << "a successor as well";
  EXPECT_EQ(board->processes(2).size(), 1U);
  EXPECT_EQ(board->processes(kBeacon).size(), 3U);
}

}  // namespace
}  // namespace inferpool::fcgi
