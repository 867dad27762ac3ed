// The supervisor: replacement and stuck processes.
#include "fcgi/pool/supervisor.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/fcgi/pool/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::kWorkers;
using test::kWorldOptions;
using test::ModelServer;
using test::Sidecar;
using test::Workers;
using test::World;

Supervisor::Options Concurrent(int count) {
  Supervisor::Options options = kWorldOptions;
  options.concurrent = count;
  return options;
}

// ---------------------------------------------------------------------- replacement

TEST(SupervisorReplaceTest, TheSuccessorIsReadyBeforeTheOldOneIsAskedToLeave) {
  World world({Workers(2, 4)});
  world.Begin();
  world.Replace("w1");
  EXPECT_EQ(world.Step(), "successor w2 g1");
  world.Pass(seconds(9));
  EXPECT_EQ(world.Step(), "") << "the old one serves on";
  EXPECT_TRUE(world.supervisor().Settled());
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w1");
  world.End("w1");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.Running(), "w0g1 w2g1");
  EXPECT_EQ(world.UntilDue(), std::nullopt);
}

TEST(SupervisorReplaceTest, WhoDoesNotLeaveIsKilledAfterItsDrain) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  world.Step();
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(30'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill w0");
  EXPECT_EQ(world.UntilDue(), std::nullopt);
  world.End("w0");
  EXPECT_EQ(world.Step(), "") << "its seat has long been another's";
  EXPECT_EQ(world.supervisor().BackingOff(kWorkers, world.now()), 0);
}

TEST(SupervisorReplaceTest, ARoleThatCannotRunTwiceLeavesFirst) {
  World world({Workers(1, 2), Sidecar(), ModelServer()});
  world.Begin();
  world.Replace("m0");
  EXPECT_EQ(world.Step(), "terminate m0");
  EXPECT_EQ(world.Step(), "");
  world.End("m0");
  EXPECT_EQ(world.Step(), "start m0 g1");
}

TEST(SupervisorReplaceTest, AtMostConcurrentOfARoleAreOnTheirWayTheLeavingOnesIncluded) {
  World world({Workers(4, 8)}, Concurrent(2));
  world.Begin();
  for (const char* name : {"w0", "w1", "w2", "w3"}) world.Replace(name);
  EXPECT_EQ(world.Step(), "successor w4 g1, successor w5 g1");
  world.Ready("w4");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.Ready("w5");
  EXPECT_EQ(world.Step(), "terminate w1");
  world.End("w1");
  EXPECT_EQ(world.Step(), "successor w1 g1");
  world.End("w0");
  EXPECT_EQ(world.Step(), "successor w0 g1");
  EXPECT_EQ(world.Settle(), "terminate w2, terminate w3");
}

TEST(SupervisorReplaceTest, RolesDoNotWaitForEachOther) {
  World world({Workers(1, 2), Sidecar()});
  world.Begin();
  world.Replace("w0");
  world.Replace("s0");
  EXPECT_EQ(world.Step(), "successor w1 g1, successor s1 g1");
}

TEST(SupervisorReplaceTest, ASuccessorThatCrashesIsTriedAgainAfterItsBackOffAndTheOldOneStays) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "successor w1 g1");
  for (const long wait : {100, 200, 400}) {
    world.End("w1");
    EXPECT_EQ(world.supervisor().BackingOff(kWorkers, world.now()), 0) << "the seat is not empty";
    EXPECT_EQ(world.UntilDue(), milliseconds(wait));
    EXPECT_EQ(world.StepAtNextDue(), "successor w1 g1");
  }
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
}

TEST(SupervisorReplaceTest, ASuccessorThatDoesNotGetReadyIsKilledAndTheOldOneStays) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  world.Step();
  EXPECT_EQ(world.StepAtNextDue(), "kill w1");
  world.End("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g1");
  EXPECT_FALSE(world.At("w0").asked);
}

TEST(SupervisorReplaceTest, WhenTheOldOneCrashesItsSuccessorHasTheSeat) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "successor w1 g1");
  world.End("w0");
  world.Pass(seconds(1));
  EXPECT_EQ(world.Step(), "");
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorReplaceTest, WithoutAFreePlaceTheReplacementWaits) {
  World world({Workers(1, 1)});
  world.Begin();
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "");
  world.Pass(seconds(100));
  world.End("w0");
  EXPECT_EQ(world.Step(), "start w0 g1");
}

// ---------------------------------------------------------------------------- stuck

TEST(SupervisorReplaceTest, AStuckOneIsReplacedOutOfTurnAbortedAndKilled) {
  World world({Workers(3, 6)});
  world.Begin();
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "successor w3 g1");
  world.Stuck("w1");
  EXPECT_EQ(world.Step(), "successor w4 g1") << "though one is on its way already";
  world.Ready("w4");
  EXPECT_EQ(world.Step(), "terminate w1");
  EXPECT_EQ(world.UntilDue(), milliseconds(4'000));
  EXPECT_EQ(world.StepAtNextDue(), "abort w1");
  EXPECT_EQ(world.UntilDue(), milliseconds(2'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill w1");
  world.End("w1");
  EXPECT_FALSE(world.At("w0").asked);
  world.Ready("w3");
  EXPECT_EQ(world.Step(), "terminate w0");
}

TEST(SupervisorReplaceTest, AStuckOneThatIsOnItsWayHoldsUpNobody) {
  World world({Workers(2, 5)});
  world.Begin();
  world.Stuck("w0");
  EXPECT_EQ(world.Step(), "successor w2 g1");
  world.Replace("w1");
  EXPECT_EQ(world.Step(), "successor w3 g1");
}

TEST(SupervisorReplaceTest, AStuckOneIsReportedOnce) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Stuck("w0");
  world.Step();
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.Pass(seconds(3));
  world.Stuck("w0");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), milliseconds(1'000)) << "its time is not prolonged";
}

TEST(SupervisorReplaceTest, AStuckOneWithNothingElseInWorkIsAbortedAtOnce) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Stuck("w0");
  world.Step();
  world.NothingElseInWork("w0");
  EXPECT_EQ(world.Step(), "") << "its successor is not ready yet";
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.NothingElseInWork("w0");
  EXPECT_EQ(world.Step(), "abort w0");
  EXPECT_EQ(world.StepAtNextDue(), "kill w0");
}

TEST(SupervisorReplaceTest, NothingElseInWorkSaysNothingOfOneThatIsNotStuck) {
  World world({Workers(1, 3)});
  world.Begin();
  world.NothingElseInWork("w0");
  world.Replace("w0");
  world.Step();
  world.Ready("w1");
  world.Step();
  world.NothingElseInWork("w0");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), milliseconds(30'000));
}

TEST(SupervisorReplaceTest, OneThatGetsStuckWhileItLeavesHasTheShorterTime) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  world.Step();
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.Pass(seconds(10));
  world.Stuck("w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(4'000));
  EXPECT_EQ(world.StepAtNextDue(), "abort w0");
  EXPECT_EQ(world.StepAtNextDue(), "kill w0");
}

TEST(SupervisorReplaceTest, GettingStuckNeverGivesMoreTimeThanTheDrainDid) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  world.Step();
  world.Ready("w1");
  world.Step();
  world.Pass(seconds(28));
  world.Stuck("w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(2'000));
  EXPECT_EQ(world.StepAtNextDue(), "abort w0");
}

TEST(SupervisorReplaceTest, AStuckOnesTimeIsNeverLongerThanTheDrain) {
  Supervisor::Options options = kWorldOptions;
  options.drain = seconds(1);
  World world({Workers(1, 3)}, options);
  world.Begin();
  world.Stuck("w0");
  world.Step();
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(1'000));
}

TEST(SupervisorReplaceTest, ASuccessorThatFailsDoesNotHoldTheSeatBack) {
  World world({Workers(1, 3)});
  world.Begin();
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "successor w1 g1");
  for (int i = 0; i < 6; ++i) {
    world.End("w1");
    EXPECT_EQ(world.StepAtNextDue(), "successor w1 g1");
  }
  world.End("w1");
  world.End("w0");
  EXPECT_EQ(world.Step(), "start w0 g1");
}

TEST(SupervisorReplaceTest, WhoIsReplacedMayTakeLongerThanAStopAllows) {
  Supervisor::Options options = test::kWorldOptions;
  options.leave = std::chrono::seconds(40);
  options.drain = std::chrono::seconds(5);
  World world({Workers(1, 3)}, options);
  world.Begin();
  world.Replace("w0");
  world.Step();
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
  EXPECT_EQ(world.UntilDue(), options.leave);
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w1");
  EXPECT_EQ(world.UntilDue(), options.drain);
}

}  // namespace
}  // namespace inferpool::fcgi
