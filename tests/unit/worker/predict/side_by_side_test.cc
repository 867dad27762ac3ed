#include "worker/predict/side_by_side.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "shared/base/mutex.h"
#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool::predict {
namespace {

TEST(SpareThreadsTest, GivesWhatIsFreeAndNeverMore) {
  SpareThreads spare(5);
  EXPECT_EQ(spare.Take(3), 3);
  EXPECT_EQ(spare.Take(3), 2);
  EXPECT_EQ(spare.Take(3), 0);
  EXPECT_EQ(spare.Take(0), 0);
  EXPECT_EQ(spare.Take(-1), 0);
  spare.GiveBack(4);
  EXPECT_EQ(spare.Take(9), 4);
}

TEST(SpareThreadsTest, ManyTakersShare) {
  constexpr int kCount = 6;
  SpareThreads spare(kCount);
  std::atomic<int> out = 0;
  std::atomic<bool> over = false;
  {
    std::vector<std::jthread> takers;
    for (int i = 0; i < 4; ++i) {
      takers.emplace_back([&] {
        for (int turn = 0; turn < 2'000; ++turn) {
          const int taken = spare.Take(4);
          if (out.fetch_add(taken) + taken > kCount) over = true;
          out -= taken;
          spare.GiveBack(taken);
        }
      });
    }
  }
  EXPECT_FALSE(over);
  EXPECT_EQ(spare.Take(100), kCount);
}

TEST(SideBySideTest, EachPartIsDoneOnceHoweverManyThreadsThereAre) {
  const Scoreboard board = test::OccupiedBoard(1, 1);
  for (const int threads : {0, 1, 3, 50}) {
    SpareThreads spare(threads);
    std::vector<std::atomic<int>> done(40);
    Mutex mutex;
    std::set<Seqlock<Task>*> tasks;
    SideBySide(board.thread_slots(0)[0], spare, done.size(),
               [&](std::size_t part, Seqlock<Task>& task) {
                 done[part]++;
                 const MutexLock lock(mutex);
                 tasks.insert(&task);
               });
    for (const auto& times : done) EXPECT_EQ(times, 1);
    EXPECT_LE(tasks.size(), std::min<std::size_t>(threads, kMaxHelpers) + 1);
    EXPECT_EQ(spare.Take(100), threads) << "all were given back";
  }
}

TEST(SideBySideTest, PartsAreAtWorkAtTheSameTime) {
  const Scoreboard board = test::OccupiedBoard(1, 1);
  SpareThreads spare(3);
  std::atomic<int> at_work = 0;
  SideBySide(board.thread_slots(0)[0], spare, 4, [&](std::size_t, Seqlock<Task>&) {
    ++at_work;
    at_work.notify_all();
    for (int now = at_work; now < 4; now = at_work) at_work.wait(now);  // or it never ends
  });
  EXPECT_EQ(at_work, 4);
}

TEST(SideBySideTest, NothingIsNothingToDo) {
  const Scoreboard board = test::OccupiedBoard(1, 1);
  SpareThreads spare(3);
  SideBySide(board.thread_slots(0)[0], spare, 0,
             [](std::size_t, Seqlock<Task>&) { FAIL() << "there is no part"; });
  EXPECT_EQ(spare.Take(100), 3);
}

}  // namespace
}  // namespace inferpool::predict
