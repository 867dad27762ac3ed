#include "fcgi/pool/worker_check.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <string>

#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class InspectionTest : public testing::Test {
 protected:
  void Begin(std::size_t thread_slot, const std::string& request) {
    board_.thread_slots(0)[thread_slot].Begin(now_);
    board_.thread_slots(0)[thread_slot].task.Store(
        {.request_id = RequestName(request), .model = {}, .digest = DigestOf({}, request)});
  }

  InWork Look(bool late = false) {
    const auto times_of = [this](pid_t thread) -> std::optional<ThreadTimes> {
      const auto known = times_.find(thread);
      return known == times_.end() ? std::nullopt : std::optional(known->second);
    };
    return watch_.Look(board_.thread_slots(0), times_of, seconds(5), now_, late);
  }
  InWork LookAfter(Clock::duration time) {
    now_ += time;
    return Look();
  }

  TimePoint now_ = Clock::now();
  const Scoreboard board_ = test::OccupiedBoard(1, 4);
  std::map<pid_t, ThreadTimes> times_;  // of others nothing is known
  WorkerStepWatch watch_;
};

TEST_F(InspectionTest, AnIdleWorkerHasNothingInWork) {
  const InWork in_work = LookAfter(seconds(1));
  EXPECT_EQ(in_work.busy, 0);
  EXPECT_TRUE(in_work.stuck.empty());
}

TEST_F(InspectionTest, OnlyWhatIsOverTheLimitIsStuck) {
  Begin(3, "late");
  Look();
  now_ += milliseconds(1);
  Begin(1, "just in time");
  Look();
  EXPECT_TRUE(LookAfter(seconds(5) - milliseconds(1)).stuck.empty());
  Begin(0, "new");
  const InWork in_work = LookAfter(milliseconds(1));
  EXPECT_EQ(in_work.busy, 3);
  ASSERT_EQ(in_work.stuck.size(), 1U);
  EXPECT_EQ(in_work.stuck[0].task.request_id.view(), "late");
  EXPECT_EQ(in_work.stuck[0].task.digest, DigestOf({}, "late"));
}

TEST_F(InspectionTest, WhoGoesOnIsNotStuck) {
  Begin(0, "slow");
  Look();
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(LookAfter(seconds(4)).stuck.empty());
    board_.thread_slots(0)[0].NewStep(now_);
    Look();
  }
  EXPECT_EQ(LookAfter(seconds(6)).stuck.size(), 1U);
}

TEST_F(InspectionTest, AStuckThreadWithoutATaskCountsToo) {
  board_.thread_slots(0)[2].Begin(now_);
  Look();
  const InWork in_work = LookAfter(seconds(60));
  ASSERT_EQ(in_work.stuck.size(), 1U);
  EXPECT_FALSE(in_work.stuck[0].task.digest.known());
}

TEST_F(InspectionTest, WhoHasNoProcessorIsNotStuck) {
  Begin(0, "starved");
  Begin(1, "sleeps");
  board_.thread_slots(0)[0].thread = 10;
  board_.thread_slots(0)[1].thread = 11;
  times_[10].runnable = true;
  times_[11] = {};
  Look();
  times_[10].wait += seconds(60);
  const InWork in_work = LookAfter(seconds(60));
  EXPECT_EQ(in_work.busy, 2);
  ASSERT_EQ(in_work.stuck.size(), 1U);
  EXPECT_EQ(in_work.stuck[0].task.request_id.view(), "sleeps");
}

TEST_F(InspectionTest, WhoseHelperHasNoProcessorIsNotStuck) {
  Begin(0, "batch");
  ThreadSlot& thread_slot = board_.thread_slots(0)[0];
  thread_slot.thread = 10;
  thread_slot.helpers[2] = 12;
  times_[10] = {};
  times_[12].runnable = true;
  Look();
  EXPECT_TRUE(LookAfter(seconds(60)).stuck.empty());
  thread_slot.helpers[2] = 0;
  EXPECT_EQ(Look().stuck.size(), 1U) << "what keeps it now is its own";
}

TEST_F(InspectionTest, WhatWasFrozenAsAWholeIsNotStuck) {
  Begin(0, "frozen");
  board_.thread_slots(0)[0].thread = 10;
  times_[10] = {};
  Look();
  now_ += seconds(60);
  EXPECT_TRUE(Look(/*late=*/true).stuck.empty());
  EXPECT_TRUE(LookAfter(seconds(1)).stuck.empty());
  EXPECT_EQ(LookAfter(seconds(5)).stuck.size(), 1U);
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

TEST_F(InspectionTest, AProcessThatADebuggerHoldsIsStoppedToo) {
  const test::ChildProcess child([] {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 1;
    raise(SIGTRAP);
    return 0;
  });
  EXPECT_TRUE(test::Eventually([&] { return IsStopped(child.pid()); }));
}

}  // namespace
}  // namespace inferpool::fcgi
