// The supervisor: start, crash, and the number of seats.
#include "fcgi/pool/supervisor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/fcgi/pool/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::kWorkers;
using test::kWorldOptions;
using test::ModelServer;
using test::Sidecar;
using test::Workers;
using test::World;

// Ends `name` and waits until its seat is filled again; returns how long that took.
milliseconds EndAndRestart(World& world, const std::string& name) {
  world.End(name);
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.supervisor().BackingOff(kWorkers, world.now()), 1);
  const auto wait = world.UntilDue();
  EXPECT_EQ(world.StepAtNextDue(), "start " + name + " g1");
  EXPECT_EQ(world.supervisor().BackingOff(kWorkers, world.now()), 0);
  return wait.value_or(milliseconds(-1));
}

TEST(SupervisorTest, StartsEverySeatOfEveryRoleOnce) {
  World world({Workers(3, 5), Sidecar(), ModelServer()});
  EXPECT_EQ(world.Step(), "start w0 g1, start w1 g1, start w2 g1, start s0 g1, start m0 g1");
  EXPECT_EQ(world.Step(), "");
  EXPECT_FALSE(world.supervisor().Settled());
  for (const char* name : {"w0", "w1", "w2", "s0"}) world.Ready(name);
  EXPECT_FALSE(world.supervisor().Settled());
  world.Ready("m0");
  EXPECT_TRUE(world.supervisor().Settled());
  world.Pass(hours(24));
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.UntilDue(), std::nullopt);
  EXPECT_FALSE(world.supervisor().Done());
}

TEST(SupervisorTest, WithoutRolesThereIsNothingToDo) {
  World world({});
  EXPECT_EQ(world.Step(), "");
  EXPECT_FALSE(world.supervisor().Done());
  world.supervisor().Stop(world.now());
  EXPECT_TRUE(world.supervisor().Done());
}

TEST(SupervisorTest, KnowsWhichPlacesThereAre) {
  World world({Workers(1, 3), Sidecar()});
  const Supervisor& supervisor = world.supervisor();
  EXPECT_TRUE(supervisor.HasPlace({0, 0}));
  EXPECT_TRUE(supervisor.HasPlace({0, 2}));
  EXPECT_FALSE(supervisor.HasPlace({0, 3}));
  EXPECT_FALSE(supervisor.HasPlace({0, -1}));
  EXPECT_TRUE(supervisor.HasPlace({1, 1}));
  EXPECT_FALSE(supervisor.HasPlace({1, 2}));
  EXPECT_FALSE(supervisor.HasPlace({2, 0}));
  EXPECT_FALSE(supervisor.HasPlace({-1, 0}));
}

TEST(SupervisorTest, EventsOfProcessesThatDoNotRunAreIgnored) {
  World world({Workers(1, 3)});
  world.Begin();
  world.supervisor().Ready({kWorkers, 2}, world.now());
  world.Replace("w2");
  world.Stuck("w2");
  world.NothingElseInWork("w2");
  world.supervisor().Ended({kWorkers, 2}, /*killed=*/false, world.now());
  EXPECT_EQ(world.Step(), "");
  EXPECT_TRUE(world.supervisor().Settled());
  EXPECT_EQ(world.UntilDue(), std::nullopt);
}

TEST(SupervisorTest, OneThatDoesNotGetReadyInTimeIsKilledAndStartedAgain) {
  World world({Workers(1, 3)});
  world.Step();
  EXPECT_EQ(world.UntilDue(), milliseconds(10'000));
  EXPECT_EQ(world.StepAtNextDue(), "kill w0");
  world.Ready("w0");
  EXPECT_EQ(world.Step(), "") << "too late to be ready";
  EXPECT_EQ(world.UntilDue(), std::nullopt) << "only its end is waited for";
  world.End("w0");
  EXPECT_EQ(world.StepAtNextDue(), "start w0 g1");
}

// ----------------------------------------------------------- those that do not come up

TEST(SupervisorTest, TheBackOffDoublesForOneThatDoesNotComeUp) {
  World world({Workers(1, 4)});
  world.Step();
  std::vector<long> waits;
  for (int i = 0; i < 10; ++i) waits.push_back(EndAndRestart(world, "w0").count());
  EXPECT_EQ(waits,
            (std::vector<long>{100, 200, 400, 800, 1'600, 3'200, 6'400, 10'000, 10'000, 10'000}));
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_EQ(EndAndRestart(world, "w0"), milliseconds(10'000)) << "and never overflows";
  }
}

TEST(SupervisorTest, OneThatIsKilledBeforeItServesBacksOffAsAnyOther) {
  World world({Workers(1, 2)});
  world.Step();
  for (const long wait : {100, 200, 400, 800, 1'600}) {
    world.Kill("w0");
    EXPECT_EQ(world.UntilDue(), milliseconds(wait));
    EXPECT_EQ(world.StepAtNextDue(), "start w0 g1");
  }
}

TEST(SupervisorTest, TheBackOffIsEachSeatsOwn) {
  World world({Workers(2, 4)});
  world.Step();
  world.Ready("w1");
  for (int i = 0; i < 4; ++i) EndAndRestart(world, "w0");
  world.End("w1");
  EXPECT_EQ(world.Step(), "start w1 g1") << "it served";
  EXPECT_EQ(EndAndRestart(world, "w1"), milliseconds(100));
  EXPECT_EQ(EndAndRestart(world, "w0"), milliseconds(1'600));
}

TEST(SupervisorTest, TheBackOffBeginsAnewAfterOneThatServed) {
  World world({Workers(1, 2)});
  world.Step();
  for (int i = 0; i < 4; ++i) EndAndRestart(world, "w0");
  world.Ready("w0");
  world.End("w0");
  EXPECT_EQ(world.Step(), "start w0 g1");
  EXPECT_EQ(EndAndRestart(world, "w0"), milliseconds(100));
}

TEST(SupervisorTest, SeveralThatBackOffAreCountedAndStartedEachAtItsTime) {
  World world({Workers(3, 5)});
  world.Step();
  world.Ready("w1");
  EndAndRestart(world, "w0");
  world.End("w0");  // in 200 ms
  world.End("w2");  // in 100 ms
  EXPECT_EQ(world.supervisor().BackingOff(kWorkers, world.now()), 2);
  EXPECT_FALSE(world.supervisor().Settled());
  // The lowest free place is taken, whichever seat it was.
  EXPECT_EQ(world.UntilDue(), milliseconds(100));
  EXPECT_EQ(world.StepAtNextDue(), "start w0 g1");
  EXPECT_EQ(world.UntilDue(), milliseconds(100));
  EXPECT_EQ(world.StepAtNextDue(), "start w2 g1");
}

TEST(SupervisorTest, OneThatCountsAsReadyFromItsStartHasToLiveForAWhile) {
  World world({Workers(1, 2), Sidecar(), ModelServer()});
  world.Begin();
  for (const long wait : {100, 200, 400}) {
    world.Pass(milliseconds(499));
    world.End("m0");
    EXPECT_EQ(world.Step(), "");
    EXPECT_EQ(world.UntilDue(), milliseconds(wait));
    EXPECT_EQ(world.StepAtNextDue(), "start m0 g1");
    world.Ready("m0");
  }
  world.Pass(milliseconds(500));
  world.End("m0");
  EXPECT_EQ(world.Step(), "start m0 g1");
  world.Ready("m0");
  world.End("m0");
  EXPECT_EQ(world.UntilDue(), milliseconds(100)) << "the back-off begins anew";
}

// ----------------------------------------------------------------------- those that served

TEST(SupervisorTest, OneThatServedIsStartedAgainAtOnceHoweverItEnded) {
  World world({Workers(2, 4), Sidecar(), ModelServer()});
  world.Begin();
  for (int i = 0; i < 100; ++i) {
    world.Pass(milliseconds(500));
    for (const char* name : {"w1", "s0", "m0"}) {
      i % 2 == 0 ? world.End(name) : world.Kill(name);
      ASSERT_EQ(world.Step(), std::string("start ") + name + " g1");
      ASSERT_EQ(world.supervisor().BackingOff(kWorkers, world.now()), 0);
      world.Ready(name);
    }
    ASSERT_TRUE(world.supervisor().Settled());
  }
}

TEST(SupervisorTest, TheBudgetBoundsTheStartsOfARole) {
  World world({Workers(2, 4), Sidecar()});
  world.Begin();
  const TimePoint begin = world.now();
  int starts = 0;
  while (world.now() - begin < seconds(10)) {
    for (const char* name : {"w0", "w1"}) {
      if (!world.At(name).running) continue;
      if (!world.At(name).ready) world.Ready(name);
      world.End(name);
    }
    std::string said = world.Step();
    if (said.empty()) said = world.StepAtNextDue();
    starts += static_cast<int>(std::ranges::count(said, 'w'));
  }
  EXPECT_GE(starts, 100);
  EXPECT_LE(starts, 100 + test::kRestartBurst + 2);
  world.End("s0");
  EXPECT_EQ(world.Step(), "start s0 g1") << "the workers' budget is theirs";
}

TEST(SupervisorTest, ASeatThatWaitsForTheBudgetIsCountedAsBackingOff) {
  World world({Workers(1, 3)});
  world.Begin();
  for (int i = 0; i < test::kRestartBurst; ++i) {
    world.End("w0");
    EXPECT_EQ(world.Step(), "start w0 g1");
    world.Ready("w0");
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(EndAndRestart(world, "w0"), milliseconds(100));
    world.Ready("w0");
  }
}

// ---------------------------------------------------------------------------- seats

TEST(SupervisorTest, MoreSeatsAreFilledAtOnce) {
  World world({Workers(1, 6)});
  world.Begin();
  world.supervisor().SetSeats(kWorkers, 4);
  EXPECT_FALSE(world.supervisor().Settled());
  EXPECT_EQ(world.Step(), "start w1 g1, start w2 g1, start w3 g1");
}

TEST(SupervisorTest, FewerSeatsDrainExactlyTheDifferenceAtOnce) {
  World world({Workers(5, 8)});
  world.Begin();
  world.supervisor().SetSeats(kWorkers, 2);
  EXPECT_EQ(world.Step(), "terminate w2, terminate w3, terminate w4");
  EXPECT_EQ(world.UntilDue(), milliseconds(30'000));
  for (const char* name : {"w2", "w3", "w4"}) world.End(name);
  EXPECT_EQ(world.Step(), "");
  EXPECT_EQ(world.Running(), "w0g1 w1g1");
  EXPECT_TRUE(world.supervisor().Settled());
}

TEST(SupervisorTest, ASeatThatGoesTakesItsSuccessorAlong) {
  World world({Workers(2, 4)});
  world.Begin();
  world.Replace("w1");
  EXPECT_EQ(world.Step(), "successor w2 g1");
  world.supervisor().SetSeats(kWorkers, 1);
  EXPECT_EQ(world.Step(), "terminate w1, terminate w2");
}

TEST(SupervisorTest, SeatsAreNeverMoreThanPlacesNorLessThanNone) {
  World world({Workers(1, 3)});
  world.Begin();
  world.supervisor().SetSeats(kWorkers, 100);
  EXPECT_EQ(world.Step(), "start w1 g1, start w2 g1");
  world.supervisor().SetSeats(kWorkers, -5);
  EXPECT_EQ(world.Step(), "terminate w0, terminate w1, terminate w2");
}

TEST(SupervisorTest, SeatsThatComeBackWaitForThePlacesOfThoseThatLeave) {
  World world({Workers(3, 3)});
  world.Begin();
  world.supervisor().SetSeats(kWorkers, 1);
  EXPECT_EQ(world.Step(), "terminate w1, terminate w2");
  world.supervisor().SetSeats(kWorkers, 3);
  EXPECT_EQ(world.Step(), "") << "they leave all the same";
  world.End("w2");
  EXPECT_EQ(world.Step(), "start w2 g1");
  world.End("w1");
  EXPECT_EQ(world.Step(), "start w1 g1");
}

TEST(SupervisorTest, WhoServesStaysWhenThePoolShrinks) {
  World world({Workers(3, 5)});
  world.Step();
  world.Ready("w1");
  world.Ready("w2");
  world.End("w0");
  world.supervisor().SetSeats(kWorkers, 1);
  EXPECT_EQ(world.Step(), "terminate w2");
  world.End("w2");
  world.Settle();
  EXPECT_EQ(world.Running(), "w1g1");
}

}  // namespace
}  // namespace inferpool::fcgi
