#include "fcgi/inspection.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "tests/unit/fcgi/child_process.h"
#include "tests/unit/shared/occupied_board.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class InspectionTest : public testing::Test {
 protected:
  void Begin(std::size_t lane, std::chrono::nanoseconds ago, const std::string& request) {
    board_.lanes(0)[lane].Begin(now_ - ago);
    board_.lanes(0)[lane].task.Store(
        {.request_id = RequestName(request), .model = {}, .digest = DigestOf(request)});
  }

  const TimePoint now_ = Clock::now();
  const Scoreboard board_ = test::OccupiedBoard(1, 4);
};

TEST_F(InspectionTest, AnIdleWorkerHasNothingInWork) {
  const InWork in_work = Inspect(board_.lanes(0), seconds(1), now_);
  EXPECT_EQ(in_work.busy, 0);
  EXPECT_TRUE(in_work.stuck.empty());
}

TEST_F(InspectionTest, OnlyWhatIsOverTheLimitIsStuck) {
  Begin(0, milliseconds(0), "new");
  Begin(1, seconds(5), "just in time");
  Begin(3, seconds(5) + milliseconds(1), "late");
  const InWork in_work = Inspect(board_.lanes(0), seconds(5), now_);
  EXPECT_EQ(in_work.busy, 3);
  ASSERT_EQ(in_work.stuck.size(), 1U);
  EXPECT_EQ(in_work.stuck[0].request_id.view(), "late");
  EXPECT_EQ(in_work.stuck[0].digest, DigestOf("late"));
}

TEST_F(InspectionTest, WhoGoesOnIsNotStuck) {
  Begin(0, seconds(60), "slow");
  board_.lanes(0)[0].NewStep(now_ - seconds(5));
  EXPECT_TRUE(Inspect(board_.lanes(0), seconds(5), now_).stuck.empty());
  EXPECT_EQ(Inspect(board_.lanes(0), seconds(4), now_).stuck.size(), 1U);
}

TEST_F(InspectionTest, AStuckThreadWithoutATaskCountsToo) {
  board_.lanes(0)[2].Begin(now_ - seconds(60));
  const InWork in_work = Inspect(board_.lanes(0), seconds(5), now_);
  ASSERT_EQ(in_work.stuck.size(), 1U);
  EXPECT_FALSE(in_work.stuck[0].digest.known());
}

TEST_F(InspectionTest, AWorkerIsDueAtItsAge) {
  Config::Recycle recycle;
  EXPECT_FALSE(IsDue(recycle, std::chrono::hours(1'000), getpid())) << "0: never";
  recycle.age_s = 100;
  EXPECT_FALSE(IsDue(recycle, seconds(100) - milliseconds(1), getpid()));
  EXPECT_TRUE(IsDue(recycle, seconds(100), getpid()));
}

TEST_F(InspectionTest, AWorkerIsDueAboveItsMemory) {
  Config::Recycle recycle;
  recycle.rss_mb = 1;
  EXPECT_TRUE(IsDue(recycle, seconds(0), getpid()));
  recycle.rss_mb = 1'000'000;
  EXPECT_FALSE(IsDue(recycle, seconds(0), getpid()));
}

TEST_F(InspectionTest, AStoppedProcessIsKnownFromOneThatRuns) {
  test::ChildProcess child([] {
    while (true) pause();
    return 0;
  });
  EXPECT_FALSE(IsStopped(getpid()));
  EXPECT_FALSE(IsStopped(child.pid()));
  child.Signal(SIGSTOP);
  EXPECT_TRUE(test::Eventually([&] { return IsStopped(child.pid()); }));
  child.Signal(SIGCONT);
  EXPECT_TRUE(test::Eventually([&] { return !IsStopped(child.pid()); }));
  EXPECT_FALSE(IsStopped(2'000'000'000)) << "there is no such process";
}

}  // namespace
}  // namespace inferpool::fcgi
