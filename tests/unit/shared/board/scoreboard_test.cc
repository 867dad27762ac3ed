#include "shared/board/scoreboard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <numeric>
#include <set>
#include <vector>

#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool {
namespace {

using std::chrono::microseconds;
using test::OccupiedBoard;

// Runs `body` in a child process until it returns or is killed.
pid_t Fork(const std::function<void()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(0);
  }
  return pid;
}

void Join(pid_t pid) {
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
}

std::uint64_t Sum(const auto& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), std::uint64_t{0});
}

const HistogramTotal& Of(const Totals& totals, Stage stage) {
  return totals.stages[static_cast<std::size_t>(stage)];
}

std::uint64_t Of(const Totals& totals, ProcessState state) {
  return totals.workers().by_state[static_cast<std::size_t>(state)];
}

// Every number of the totals that may never fall.
std::vector<std::uint64_t> Counters(const Totals& totals) {
  std::vector<std::uint64_t> all(totals.by_status.begin(), totals.by_status.end());
  all.insert(all.end(), {totals.bytes_in, totals.bytes_out, totals.workers().starts,
                         totals.workers().crashes, totals.workers().planned_ends});
  all.insert(all.end(), totals.model_calls.begin(), totals.model_calls.end());
  for (const auto& stage : totals.stages) {
    all.insert(all.end(), stage.buckets.begin(), stage.buckets.end());
    all.push_back(stage.sum_us);
  }
  return all;
}

TEST(ScoreboardTest, StartsAtZeroWithEverySlotEmpty) {
  const auto made = Scoreboard::Create(3, 2);
  ASSERT_TRUE(made.ok()) << made.status();
  const Scoreboard& board = *made;
  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(Sum(Counters(totals)), 0U);
  EXPECT_EQ(totals.in_work, 0U);
  EXPECT_EQ(Sum(totals.workers().by_state), 0U) << "an empty slot is no worker";
  EXPECT_EQ(board.slots(), 3);
  EXPECT_EQ(board.threads_per_slot(), 2);
  for (int slot = 0; slot < 3; ++slot) {
    EXPECT_EQ(board.slot(slot).process.state.load(), ProcessState::kEmpty);
    EXPECT_TRUE(board.used_thread_slots(slot).empty());
  }
  EXPECT_TRUE(board.Crashes().empty());
}

TEST(ScoreboardTest, EachPoolHasADigestKeyOfItsOwnWhichTheNewProgramFinds) {
  const auto one = Scoreboard::Create(1, 1);
  const auto other = Scoreboard::Create(1, 1);
  ASSERT_TRUE(one.ok() && other.ok());
  const Digest digest = one->pool().quarantine.DigestOf("picture");
  EXPECT_NE(digest, other->pool().quarantine.DigestOf("picture"));
  EXPECT_NE(digest, DigestOf({}, "picture"));
  const auto next = Scoreboard::Open(FileDescriptor(dup(one->file())), Scoreboard::Access::kWrite);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(digest, next->pool().quarantine.DigestOf("picture"));
}

TEST(ScoreboardTest, EveryThreadHasAThreadSlotOfItsOwnOnItsOwnCacheLines) {
  const Scoreboard board = OccupiedBoard(5, 3);
  std::set<const ThreadSlot*> seen;
  for (int worker = 0; worker < 5; ++worker) {
    ASSERT_EQ(board.thread_slots(worker).size(), 3U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&board.slot(worker)) % 64, 0U);
    for (ThreadSlot& thread_slot : board.thread_slots(worker)) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&thread_slot) % 64, 0U);
      EXPECT_TRUE(seen.insert(&thread_slot).second);
      thread_slot.CountStatus(200);
    }
  }
  EXPECT_EQ(board.Sum(Clock::now()).by_status[0], 15U);
  for (int worker = 0; worker < 5; ++worker) {
    for (const ThreadSlot& thread_slot : board.thread_slots(worker))
      EXPECT_EQ(thread_slot.by_status[0].load(), 1U);
  }
}

TEST(ScoreboardTest, WhatAChildWritesTheParentReads) {
  const Scoreboard board = OccupiedBoard(2, 2);
  Join(Fork([&board] {
    board.slot(1).process.state = ProcessState::kReady;
    board.slot(1).process.pid = getpid();
    ThreadSlot& thread_slot = board.thread_slots(1)[1];
    thread_slot.busy_since_ns = 1;
    thread_slot.CountStatus(404);
    thread_slot.CountBytes(10, 20);
    thread_slot.CountStage(Stage::kInfer, microseconds(700));
  }));
  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(totals.by_status[4], 1U);
  EXPECT_EQ(totals.bytes_in, 10U);
  EXPECT_EQ(totals.bytes_out, 20U);
  EXPECT_EQ(Of(totals, Stage::kInfer).sum_us, 700U);
  EXPECT_EQ(totals.in_work, 1U);
  EXPECT_EQ(Of(totals, ProcessState::kReady), 1U);
  EXPECT_GT(board.slot(1).process.pid.load(), 0);
}

TEST(ScoreboardTest, WhatTheParentWritesAfterTheForkAChildReads) {
  const Scoreboard board = OccupiedBoard(1, 1);
  const pid_t child = Fork([&board] {
    for (int i = 0; i < 2000; ++i) {
      if (board.Sum(Clock::now()).workers().starts == 2) _exit(0);
      usleep(1000);
    }
    _exit(1);
  });
  board.Occupy(0, 2, 1, Clock::now());
  Join(child);
}

TEST(ScoreboardTest, VacateClearsTheGaugesAndKeepsTheCounters) {
  const Scoreboard board = OccupiedBoard(2, 2);
  for (int worker = 0; worker < 2; ++worker) {
    board.slot(worker).process.state = ProcessState::kReady;
    board.slot(worker).process.pid = 100 + worker;
    for (ThreadSlot& thread_slot : board.thread_slots(worker)) {
      thread_slot.busy_since_ns = 1;
      thread_slot.CountStatus(200);
      thread_slot.CountStatus(503);
      thread_slot.CountBytes(3, 4);
      thread_slot.CountStage(Stage::kTotal, microseconds(999));
    }
  }
  const auto before = Counters(board.Sum(Clock::now()));

  board.Vacate(1);

  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(Counters(totals), before);
  EXPECT_EQ(totals.in_work, 2U) << "the other worker's requests are still in work";
  EXPECT_EQ(Of(totals, ProcessState::kReady), 1U);
  EXPECT_EQ(Sum(totals.workers().by_state), 1U);
  EXPECT_EQ(board.slot(1).process.pid.load(), 0);
  EXPECT_EQ(board.slot(0).process.pid.load(), 100);
}

TEST(ScoreboardTest, TheNextWorkerCountsOn) {
  const Scoreboard board = OccupiedBoard(1, 1);
  for (int worker_slot = 0; worker_slot < 3; ++worker_slot) {
    Join(Fork([&board] { board.thread_slots(0)[0].CountStatus(200); }));
    board.Vacate(0);
  }
  EXPECT_EQ(board.Sum(Clock::now()).by_status[0], 3U);
}

TEST(ScoreboardTest, ModelCallsAreSummedOverSlotsAndTenants) {
  const Scoreboard board = OccupiedBoard(2, 1);
  board.slot(0).model_calls.Count(ModelCall::kRetried);
  board.slot(1).model_calls.Count(ModelCall::kRetried);
  board.slot(1).model_calls.Count(ModelCall::kRefused);
  board.Vacate(0);
  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(totals.model_calls[static_cast<std::size_t>(ModelCall::kRetried)], 2U);
  EXPECT_EQ(totals.model_calls[static_cast<std::size_t>(ModelCall::kRefused)], 1U);
  EXPECT_EQ(Sum(totals.model_calls), 3U);
}

TEST(ScoreboardTest, ABucketTakesItsUpperBoundAndNothingAbove) {
  for (std::size_t i = 0; i < kBucketBoundsUs.size(); ++i) {
    const Scoreboard board = OccupiedBoard(1, 1);
    ThreadSlot& thread_slot = board.thread_slots(0)[0];
    thread_slot.CountStage(Stage::kDecode, microseconds(kBucketBoundsUs[i]));
    thread_slot.CountStage(Stage::kDecode, microseconds(kBucketBoundsUs[i] + 1));
    const Totals totals = board.Sum(Clock::now());
    EXPECT_EQ(Of(totals, Stage::kDecode).buckets[i], 1U) << kBucketBoundsUs[i];
    EXPECT_EQ(Of(totals, Stage::kDecode).buckets[i + 1], 1U) << kBucketBoundsUs[i];
    EXPECT_EQ(Sum(Of(totals, Stage::kRead).buckets), 0U) << "another stage's";
  }
}

TEST(ScoreboardTest, DurationsBeyondTheBoundsGoIntoTheFirstAndTheLastBucket) {
  const Scoreboard board = OccupiedBoard(1, 1);
  ThreadSlot& thread_slot = board.thread_slots(0)[0];
  thread_slot.CountStage(Stage::kQueue, microseconds(0));
  thread_slot.CountStage(Stage::kQueue, microseconds(-5));
  thread_slot.CountStage(Stage::kQueue, std::chrono::hours(2));
  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(Of(totals, Stage::kQueue).buckets.front(), 2U);
  EXPECT_EQ(Of(totals, Stage::kQueue).buckets.back(), 1U);
  EXPECT_EQ(Of(totals, Stage::kQueue).sum_us, 7'200'000'000U) << "a negative time counts as none";
}

TEST(ScoreboardTest, BucketBoundsRise) {
  for (std::size_t i = 1; i < kBucketBoundsUs.size(); ++i) {
    EXPECT_LT(kBucketBoundsUs[i - 1], kBucketBoundsUs[i]);
  }
}

TEST(ScoreboardTest, EveryCountedStatusHasItsOwnCounter) {
  const Scoreboard board = OccupiedBoard(1, 1);
  for (const HttpStatus& status : kHttpStatuses) board.thread_slots(0)[0].CountStatus(status.code);
  for (const std::uint64_t count : board.Sum(Clock::now()).by_status) EXPECT_EQ(count, 1U);
}

TEST(ScoreboardTest, AnUnknownStatusCountsAsTheLast) {
  const Scoreboard board = OccupiedBoard(1, 1);
  for (const int status : {0, -1, 201, 418, 599, 1'000'000})
    board.thread_slots(0)[0].CountStatus(status);
  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(totals.by_status.back(), 6U);
  EXPECT_EQ(Sum(totals.by_status), 6U);
}

TEST(ScoreboardTest, StartsAndEndsAreCountedByKind) {
  const Scoreboard board = OccupiedBoard(1, 1);
  for (int i = 0; i < 4; ++i) board.Occupy(0, 1, 1, Clock::now());
  board.CountEnd(kWorkerRole, /*crashed=*/true);
  board.CountEnd(kWorkerRole, /*crashed=*/false);
  board.CountEnd(kWorkerRole, /*crashed=*/false);
  const Totals totals = board.Sum(Clock::now());
  EXPECT_EQ(totals.workers().starts, 5U);
  EXPECT_EQ(totals.workers().crashes, 1U);
  EXPECT_EQ(totals.workers().planned_ends, 2U);
}

TEST(ScoreboardTest, SumNeverFallsWhileOthersWrite) {
  const Scoreboard board = OccupiedBoard(2, 2);
  std::vector<pid_t> writers;
  for (int worker = 0; worker < 2; ++worker) {
    writers.push_back(Fork([&board, worker] {
      for (int i = 0;; ++i) {
        ThreadSlot& thread_slot = board.thread_slots(worker)[static_cast<std::size_t>(i % 2)];
        thread_slot.CountStatus(i % 3 == 0 ? 200 : 503);
        thread_slot.CountBytes(1'000, 3);
        thread_slot.CountStage(static_cast<Stage>(i % 7), microseconds(i % 20'000));
      }
    }));
  }
  auto before = Counters(board.Sum(Clock::now()));
  const auto first = before;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  bool fell = false;
  // Until the writers, on a busy machine, have had their turn.
  const auto latest = end + std::chrono::seconds(5);
  while (std::chrono::steady_clock::now() < (before == first ? latest : end)) {
    const auto now = Counters(board.Sum(Clock::now()));
    for (std::size_t i = 0; i < now.size(); ++i) fell = fell || now[i] < before[i];
    before = now;
  }
  for (const pid_t pid : writers) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  EXPECT_FALSE(fell);
  EXPECT_NE(before, first) << "nothing was written meanwhile";
  // A writer that was killed in the midst of its work leaves whole numbers.
  const auto last = Counters(board.Sum(Clock::now()));
  for (std::size_t i = 0; i < last.size(); ++i) EXPECT_GE(last[i], before[i]);
}

}  // namespace
}  // namespace inferpool
