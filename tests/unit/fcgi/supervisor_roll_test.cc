// The supervisor: generations, the end of the pool, and processes from before it was.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fcgi/supervisor.h"
#include "tests/unit/fcgi/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::kModels;
using test::kSidecar;
using test::kWorkers;
using test::ModelServer;
using test::Sidecar;
using test::Workers;
using test::World;

// ----------------------------------------------------------------------------- roll

TEST(SupervisorRollTest, EveryProcessIsReplacedByOneOfTheNewGenerationOneByOne) {
  World world({Workers(2, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_FALSE(world.supervisor().Settled());
  EXPECT_EQ(world.Step(), "successor w2 g2");
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.Leave("w0");
  EXPECT_EQ(world.Step(), "successor w0 g2");
  world.Ready("w0");
  EXPECT_EQ(world.Step(), "terminate w1");
  EXPECT_TRUE(world.supervisor().Settled()) << "who leaves does not count";
  world.Leave("w1");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.Running(), "w0g2 w2g2");
}

TEST(SupervisorRollTest, OnlyTheRolesNamedAreRolled) {
  World world({Workers(1, 3), Sidecar(), ModelServer()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kModels}, 2);
  EXPECT_EQ(world.Step(), "successor s1 g2, terminate m0");
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g1 s1g2 m0g2");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorRollTest, WhoCrashesMeanwhileComesBackAsTheNewGeneration) {
  World world({Workers(2, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w2 g2");
  world.Crash("w1");
  EXPECT_EQ(world.Step(), "start w1 g2");
}

TEST(SupervisorRollTest, WhoHasNotServedYetNeedsNoSuccessorFirst) {
  World world({Workers(1, 3)});
  world.Step();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "kill w0");
  world.Crash("w0");
  EXPECT_EQ(world.Step(), "start w0 g2");
}

TEST(SupervisorRollTest, ABackOffEndsWithANewGeneration) {
  World world({Workers(1, 3)});
  world.Begin();
  for (int i = 0; i < 8; ++i) {
    world.Crash("w0");
    world.StepAtNextDue();
  }
  world.Crash("w0");
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "start w0 g2") << "it may be the cure";
}

TEST(SupervisorRollTest, OneThatDoesNotGetReadyInTimeGivesTheGenerationUp) {
  World world({Workers(2, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w2 g2");
  EXPECT_EQ(world.UntilDue(), milliseconds(10'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill w2, give up w2 for g1");
  world.Crash("w2");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), std::nullopt);
  EXPECT_EQ(world.Running(), "w0g1 w1g1") << "the old one stays";
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorRollTest, ThreeThatEndBeforeTheyAreReadyGiveTheGenerationUp) {
  World world({Workers(1, 3)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2");
  world.Crash("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.Leave("w1");  // however it ended
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.Crash("w1");
  EXPECT_EQ(world.Step(), "give up w1 for g1");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), std::nullopt);
  EXPECT_EQ(world.Running(), "w0g1");
}

TEST(SupervisorRollTest, OneThatCrashesAfterItWasReadyIsNoReasonToGiveUp) {
  World world({Workers(2, 5)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  world.Step();
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w0");
  for (int i = 0; i < 5; ++i) {
    world.Crash("w2");
    EXPECT_EQ(world.StepAtNextDue(), "start w2 g2");
    world.Ready("w2");
  }
}

TEST(SupervisorRollTest, WhatWasAlreadyReplacedIsRolledBack) {
  World world({Workers(2, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  world.Step();
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.Leave("w0");
  EXPECT_EQ(world.Step(), "successor w0 g2");
  EXPECT_EQ(world.StepAtNextDue(), "kill w0, give up w0 for g1");
  EXPECT_EQ(world.Settle(), "successor w0 g1, terminate w2");
  EXPECT_EQ(world.Running(), "w0g1 w1g1");
}

TEST(SupervisorRollTest, SuccessorsOfAGenerationGivenUpAreNotTakenForGood) {
  Supervisor::Options options = test::kWorldOptions;
  options.concurrent = 2;
  World world({Workers(2, 5)}, options);
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w2 g2, successor w3 g2");
  for (int i = 0; i < 3; ++i) {
    world.Crash("w2");
    if (i < 2) world.StepAtNextDue();
  }
  EXPECT_EQ(world.Step(), "give up w2 for g1");
  world.Ready("w3");
  world.Settle();
  EXPECT_TRUE(world.supervisor().Settled());
  EXPECT_EQ(world.Running().find("g2"), std::string::npos) << world.Running();
}

TEST(SupervisorRollTest, AGenerationThatSettledIsNotGivenUpLater) {
  World world({Workers(1, 3)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  world.Settle();
  ASSERT_EQ(world.Running(), "w1g2");
  world.Crash("w1");
  for (int i = 0; i < 5; ++i) {
    const std::string said = world.StepAtNextDue();
    ASSERT_TRUE(said.starts_with("start ")) << said;
    world.Crash(said.substr(6, 2));
  }
}

TEST(SupervisorRollTest, TheNextGenerationIsTriedAfreshAfterOneWasGivenUp) {
  World world({Workers(1, 3)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  world.Step();
  world.StepAtNextDue();
  world.supervisor().Roll({kWorkers}, 3);
  EXPECT_EQ(world.Step(), "") << "the one that was killed is still there";
  world.Crash("w1");
  EXPECT_EQ(world.Step(), "successor w1 g3");
  for (int i = 0; i < 2; ++i) {
    world.Crash("w1");
    EXPECT_EQ(world.StepAtNextDue(), "successor w1 g3") << "failures are counted anew";
  }
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0");
}

TEST(SupervisorRollTest, ARollWhileARollGoesToTheLatest) {
  World world({Workers(3, 6)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  world.Step();
  world.Ready("w3");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.Leave("w0");
  EXPECT_EQ(world.Step(), "successor w0 g2");
  world.supervisor().Roll({kWorkers}, 3);
  world.Settle();
  EXPECT_TRUE(world.supervisor().Settled());
  for (const World::Fake& worker : world.Of(kWorkers)) {
    EXPECT_TRUE(!worker.running || worker.generation == 3) << world.Running();
  }
}

TEST(SupervisorRollTest, ARollWhileARollGoesBackToTheOneThatWasEverReady) {
  World world({Workers(1, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2");
  world.supervisor().Roll({kWorkers}, 3);
  world.Step();
  world.Crash("w1");  // the one of generation 2
  std::string said = world.Step();
  EXPECT_EQ(said, "successor w1 g3");
  EXPECT_EQ(world.StepAtNextDue(), "kill w1, give up w1 for g1");
  EXPECT_EQ(world.Running(), "w0g1 w1g3");
  world.Crash("w1");
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g1");
}

TEST(SupervisorRollTest, ARollWhileARollGoesBackToAGenerationThatWasReady) {
  World world({Workers(2, 6)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  world.Step();
  world.Ready("w2");
  world.Step();
  world.Leave("w0");
  world.supervisor().Roll({kWorkers}, 3);
  const std::string said = world.Step();
  EXPECT_EQ(said, "successor w0 g3");
  EXPECT_EQ(world.StepAtNextDue(), "kill w0, give up w0 for g2");
  world.Crash("w0");
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g2 w2g2");
}

TEST(SupervisorRollTest, RolesOfOneRollGoBackTogether) {
  World world({Workers(1, 3), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2, successor s1 g2");
  EXPECT_EQ(world.StepAtNextDue(), "kill w1, give up w1 for g1, kill s1");
  world.Crash("w1");
  world.Crash("s1");
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g1 s0g1");
}

TEST(SupervisorRollTest, ARollWithoutSeatsIsSettled) {
  World world({Workers(0, 3)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "");
  EXPECT_TRUE(world.supervisor().Settled());
}

// ----------------------------------------------------------------------------- stop

TEST(SupervisorStopTest, TheLastAreAskedWhenTheFirstHaveLeft) {
  World world({Workers(2, 4), Sidecar(), ModelServer()});
  world.Begin();
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w0, terminate w1");
  world.Pass(seconds(3));
  world.Leave("w0");
  EXPECT_EQ(world.Step(), "");
  world.Crash("w1");  // that is an end too
  EXPECT_EQ(world.Step(), "terminate s0, terminate m0");
  world.Leave("s0");
  EXPECT_FALSE(world.supervisor().Done());
  world.Leave("m0");
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
  world.Crash("w0");
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
  world.Crash("w0");
  world.Replace("w1");
  world.supervisor().Roll({kWorkers}, 2);
  world.supervisor().Stop(world.now());
  EXPECT_EQ(world.Step(), "terminate w1, terminate w2");
  world.Leave("w1");
  world.Crash("w2");
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
  world.Crash("w2");
  world.Replace("w0");
  EXPECT_EQ(world.Step(), "successor w2 g1");
  world.supervisor().StopNow(world.now());
  EXPECT_EQ(world.Step(), "kill w0, kill w1, kill w2, kill s0");
  for (const char* name : {"w0", "w1", "w2"}) world.Crash(name);
  EXPECT_FALSE(world.supervisor().Done());
  world.Crash("s0");
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
  world.Crash("w0");
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
  world.Crash("w4");
  EXPECT_EQ(world.StepAtNextDue(), "start w2 g1");
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
  EXPECT_EQ(world.Step(), "successor w1 g2, successor s1 g2");
  world.Crash("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.Crash("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.Crash("w1");
  EXPECT_EQ(world.Step(), "give up w1 for g1");
  world.Settle();
  EXPECT_EQ(world.Running().find("g2"), std::string::npos) << world.Running();
}

}  // namespace
}  // namespace inferpool::fcgi
