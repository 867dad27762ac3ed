// The supervisor: generations.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fcgi/pool/supervisor.h"
#include "tests/unit/fcgi/pool/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using test::kModels;
using test::kSidecar;
using test::kWorkers;
using test::ModelServer;
using test::Sidecar;
using test::Workers;
using test::World;

TEST(SupervisorRollTest, EveryProcessIsReplacedByOneOfTheNewGenerationOneByOne) {
  World world({Workers(2, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_FALSE(world.supervisor().Settled());
  EXPECT_EQ(world.Step(), "successor w2 g2");
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.End("w0");
  EXPECT_EQ(world.Step(), "successor w0 g2");
  world.Ready("w0");
  EXPECT_EQ(world.Step(), "terminate w1");
  EXPECT_TRUE(world.supervisor().Settled()) << "who leaves does not count";
  world.End("w1");
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.Running(), "w0g2 w2g2");
}

TEST(SupervisorRollTest, OnlyTheRolesNamedAreRolled) {
  World world({Workers(1, 3), Sidecar(), ModelServer()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kModels}, 2);
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g1 s1g2 m0g2");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorRollTest, WhoCrashesMeanwhileComesBackAsTheNewGeneration) {
  World world({Workers(2, 4)});
  world.Begin();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w2 g2");
  world.End("w1");
  EXPECT_EQ(world.Step(), "start w1 g2");
}

TEST(SupervisorRollTest, WhoHasNotServedYetNeedsNoSuccessorFirst) {
  World world({Workers(1, 3)});
  world.Step();
  world.supervisor().Roll({kWorkers}, 2);
  EXPECT_EQ(world.Step(), "terminate w0, start w1 g2");
  world.End("w0");
  world.Ready("w1");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorRollTest, ARoleThatRollsLastWaitsUntilTheOthersHaveProvedTheGeneration) {
  World world({Workers(2, 4), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kWorkers, kSidecar}, 2);
  EXPECT_EQ(world.Step(), "successor w2 g2");
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.End("w0");
  EXPECT_EQ(world.Step(), "successor w0 g2");
  world.Ready("w0");
  EXPECT_EQ(world.Step(), "terminate w1, successor s1 g2");
}

TEST(SupervisorRollTest, ARoleThatRollsLastStaysWhenTheGenerationIsGivenUp) {
  World world({Workers(1, 3), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kWorkers, kSidecar}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2");
  world.End("s0");
  world.Pass(test::kWorldOptions.backoff);
  EXPECT_EQ(world.Step(), "start s0 g1");
  world.Ready("s0");
  world.Pass(test::kWorldOptions.start);
  EXPECT_EQ(world.Step(), "kill w1, give up w1 for g1");
  EXPECT_EQ(world.Step(), "");
}

TEST(SupervisorRollTest, ABackOffEndsWithANewGeneration) {
  World world({Workers(1, 3)});
  world.Begin();
  for (int i = 0; i < 8; ++i) {
    world.End("w0");
    world.StepAtNextDue();
  }
  world.End("w0");
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
  world.End("w2");
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
  world.End("w1");
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.End("w1");  // however it ended
  EXPECT_EQ(world.StepAtNextDue(), "successor w1 g2");
  world.End("w1");
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
  for (int i = 0; i < test::kRestartBurst; ++i) {
    world.End("w2");
    EXPECT_EQ(world.Step(), "start w2 g2");
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
  world.End("w0");
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
    world.End("w2");
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
  world.End("w1");
  for (int i = 0; i < 5; ++i) {
    const std::string said = i == 0 ? world.Step() : world.StepAtNextDue();
    ASSERT_TRUE(said.starts_with("start ")) << said;
    world.End(said.substr(6, 2));
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
  world.End("w1");
  EXPECT_EQ(world.Step(), "successor w1 g3");
  for (int i = 0; i < 2; ++i) {
    world.End("w1");
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
  world.End("w0");
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
  world.End("w1");  // the one of generation 2
  std::string said = world.Step();
  EXPECT_EQ(said, "successor w1 g3");
  EXPECT_EQ(world.StepAtNextDue(), "kill w1, give up w1 for g1");
  EXPECT_EQ(world.Running(), "w0g1 w1g3");
  world.End("w1");
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
  world.End("w0");
  world.supervisor().Roll({kWorkers}, 3);
  const std::string said = world.Step();
  EXPECT_EQ(said, "successor w0 g3");
  EXPECT_EQ(world.StepAtNextDue(), "kill w0, give up w0 for g2");
  world.End("w0");
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g2 w2g2");
}

TEST(SupervisorRollTest, RolesOfOneRollGoBackTogether) {
  Supervisor::Role other = Sidecar();
  other.policy.rolls_last = false;
  World world({Workers(1, 3), other});
  world.Begin();
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2, successor s1 g2");
  EXPECT_EQ(world.StepAtNextDue(), "kill w1, give up w1 for g1, kill s1");
  world.End("w1");
  world.End("s1");
  world.Settle();
  EXPECT_EQ(world.Running(), "w0g1 s0g1");
}

TEST(SupervisorRollTest, ARoleThatRollsLastWaitsUntilTheOthersHaveSettled) {
  World world({Workers(2, 4), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w2 g2");
  world.Ready("w2");
  EXPECT_EQ(world.Step(), "terminate w0");
  world.End("w0");
  EXPECT_EQ(world.Step(), "successor w0 g2");
  world.Ready("w0");
  EXPECT_EQ(world.Settle(), "terminate w1, successor s1 g2, terminate s0");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorRollTest, ARoleThatRollsLastIsNotTouchedWhenTheOthersGoBack) {
  World world({Workers(1, 3), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2");
  EXPECT_EQ(world.StepAtNextDue(), "kill w1, give up w1 for g1");
  world.End("w1");
  EXPECT_EQ(world.Settle(), "");
  EXPECT_EQ(world.Running(), "w0g1 s0g1");
}

TEST(SupervisorRollTest, ARoleThatRollsLastComesBackAsTheOldGenerationMeanwhile) {
  World world({Workers(1, 3), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  world.Step();
  world.End("s0");
  world.Pass(milliseconds(100));
  EXPECT_EQ(world.Step(), "start s0 g1");
}

TEST(SupervisorRollTest, ARoleThatRollsLastAndFailsTakesTheOthersBack) {
  World world({Workers(1, 3), Sidecar()});
  world.Begin();
  world.supervisor().Roll({kSidecar, kWorkers}, 2);
  EXPECT_EQ(world.Step(), "successor w1 g2");
  world.Ready("w1");
  EXPECT_EQ(world.Step(), "terminate w0, successor s1 g2");
  world.End("w0");
  EXPECT_EQ(world.StepAtNextDue(), "kill s1, give up s1 for g1, successor w0 g1");
  world.End("s1");
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

}  // namespace
}  // namespace inferpool::fcgi
