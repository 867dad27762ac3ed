// The supervisor: the end of the pool, and processes from before it was.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fcgi/pool/supervisor.h"
#include "tests/unit/fcgi/pool/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::kSidecar;
using test::kWorkers;
using test::ModelServer;
using test::Sidecar;
using test::Workers;
using test::World;

// ----------------------------------------------------------------------------- stop

TEST(SupervisorStopTest, TheLastAreAskedWhenTheFirstHaveLeft) {
  World world({Workers(2, 4), Sidecar(), ModelServer()});
  world.Begin();
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w0, terminate w1");
  world.Pass(seconds(3));
  world.End("w0");
  EXPECT_EQ(world.Step(), "");
  world.End("w1");  // that is an end too
  EXPECT_EQ(world.Step(), "terminate s0, terminate m0");
  world.End("s0");
  EXPECT_FALSE(world.supervisor().Done());
  world.End("m0");
  EXPECT_TRUE(world.supervisor().Done());
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), std::nullopt);
}

TEST(SupervisorStopTest, EachHasItsOwnDrainFromWhenItIsAsked) {
  World world({Workers(1, 2), Sidecar()});
  world.Begin();
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(30'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill w0");
  world.Pass(seconds(2));
  world.End("w0");
  EXPECT_EQ(world.Step(), "terminate s0");
  EXPECT_EQ(world.UntilDue(), milliseconds(5'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill s0");
}

TEST(SupervisorStopTest, StoppingTwiceChangesNothing) {
  World world({Workers(1, 2), Sidecar()});
  world.Begin();
  world.supervisor().Stop(world.now());
  world.Step();
  world.Pass(seconds(10));
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), milliseconds(20'000)) << "the drain is not prolonged";
}

TEST(SupervisorStopTest, NobodyIsStartedAgain) {
  World world({Workers(3, 6)});
  world.Begin();
  world.End("w0");
  world.Replace("w1");
  world.supervisor().Roll({kWorkers}, 2);
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w1, terminate w2");
  world.End("w1");
  world.End("w2");
  world.Pass(hours(1));
  EXPECT_EQ(world.Step(), "");
  EXPECT_TRUE(world.supervisor().Done());
}

TEST(SupervisorStopTest, WhoIsOnTheWayInIsAskedToo) {
  World world({Workers(2, 4)});
  world.Begin();
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "successor w2 g1");
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w0, terminate w1, terminate w2");
}

TEST(SupervisorStopTest, WhoIsStuckHasItsShorterTimeThenToo) {
  World world({Workers(1, 1)});
  world.Begin();
  world.Stuck("w0");
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w0");
  EXPECT_EQ(world.UntilDue(), milliseconds(4'000));
  EXPECT_EQ(world.StepAtNextDue(), "abort w0");
}

TEST(SupervisorStopTest, BeforeTheFirstStartItIsDoneAtOnce) {
  World world({Workers(2, 4), Sidecar()});
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "");
  EXPECT_TRUE(world.supervisor().Done());
}

TEST(SupervisorStopTest, NowKillsWhoeverRunsWithoutAskingFirst) {
  World world({Workers(3, 6), Sidecar()});
  world.Begin();
  world.End("w2");
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "start w2 g1, successor w3 g1");
  world.supervisor().StopNow(world.now());
  EXPECT_EQ(world.Step(), "kill w0, kill w1, kill w2, kill w3, kill s0");
  for (const char* name : {"w0", "w1", "w2", "w3"}) world.End(name);
  EXPECT_FALSE(world.supervisor().Done());
  world.End("s0");
  EXPECT_TRUE(world.supervisor().Done());
}

TEST(SupervisorStopTest, NowCutsADrainShortAndKillsNobodyTwice) {
  World world({Workers(2, 4), Sidecar()});
  world.Begin();
  world.Replace("w0");
  world.Step();
  EXPECT_EQ(world.StepAtNextDue(), "kill w2");
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step().find("kill"), std::string::npos);
  world.Pass(seconds(1));
  world.supervisor().StopNow(world.now());
  EXPECT_EQ(world.Step(), "kill w0, kill w1, kill s0");
  world.supervisor().StopNow(world.now());
  EXPECT_EQ(world.Step(), "");
}

TEST(SupervisorStopTest, IsNotDoneBeforeStopEvenWhenNobodyRuns) {
  World world({Workers(1, 2)});
  world.Begin();
  world.End("w0");
  EXPECT_FALSE(world.supervisor().Done());
}

// ---------------------------------------------------------------------------- adopt

TEST(SupervisorAdoptTest, WhoRunsAlreadyTakesASeatAndOnlyTheRestIsStarted) {
  World world({Workers(3, 6), Sidecar()});
  world.Adopt("w1", 1, /*ready=*/true, /*leaving=*/false);
  world.Adopt("w4", 1, /*ready=*/true, /*leaving=*/false);
  world.Adopt("s1", 1, /*ready=*/true, /*leaving=*/false);
  EXPECT_EQ(world.Step(), "start w0 g1");
  world.Ready("w0");
  EXPECT_TRUE(world.supervisor().Settled());
  world.End("w4");
  EXPECT_EQ(world.Step(), "start w2 g1");
}

TEST(SupervisorAdoptTest, WhoFindsNoSeatLeaves) {
  World world({Workers(1, 4)});
  world.Adopt("w0", 1, true, false);
  world.Adopt("w1", 1, true, false);
  EXPECT_EQ(world.Step(), "terminate w1");
  EXPECT_EQ(world.StepAtNextDue(), "kill w1");
}

TEST(SupervisorAdoptTest, WhoWasToldToLeaveLeavesInItsTime) {
  World world({Workers(1, 4)});
  world.Adopt("w0", 1, true, /*leaving=*/true);
  const std::string said = world.Step();
  EXPECT_NE(said.find("start w1 g1"), std::string::npos) << said << ": it has no seat";
  world.Ready("w1");
  EXPECT_EQ(world.UntilDue(), milliseconds(30'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill w0");
}

TEST(SupervisorAdoptTest, WhoIsNotReadyYetHasItsTimeToGetReady) {
  World world({Workers(1, 4)});
  world.Adopt("w0", 1, /*ready=*/false, false);
  EXPECT_EQ(world.Step(), "");
  EXPECT_FALSE(world.supervisor().Settled());
  EXPECT_EQ(world.UntilDue(), milliseconds(10'000));
  world.Ready("w0");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorAdoptTest, TheNewProgramsGenerationReplacesThemAndCanBeGivenUp) {
  World world({Workers(1, 4), Sidecar(), ModelServer()});
  for (const char* name : {"w0", "s0", "m0"}) world.Adopt(name, 1, true, false);
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2");
  world.End("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.End("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.End("w1");
  EXPECT_EQ(world.Step(), "give up w1 for g1");
  world.Settle();
  EXPECT_EQ(world.Running().find("g2"), std::string::npos) << world.Running();
}

}  // namespace
}  // namespace inferpool::fcgi
