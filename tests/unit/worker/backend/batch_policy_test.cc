// backend::BatchGate: each decision, and all short histories against what they promise.
#include "worker/backend/batch_policy.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Part = BatchGate::Part;

constexpr TimePoint kStart{seconds(1000)};
constexpr milliseconds kWait{2};
constexpr std::int64_t kShape[] = {3, 640, 640};
constexpr std::int64_t kOtherShape[] = {3, 320, 320};

class BatchGateTest : public testing::Test {
 protected:
  Part Arrive(TimePoint now = kStart, Clock::duration left = seconds(1)) {
    return gate_.Arrive(kShape, Deadline(now + left), now);
  }

  BatchGate gate_{{.max_rows = 3, .wait = kWait}};
};

TEST_F(BatchGateTest, ALoneRequestGoesAtOnceEachTime) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Arrive(), Part::kAlone);
    EXPECT_FALSE(gate_.HasOpen());
    gate_.Back();
  }
}

TEST_F(BatchGateTest, GathersWhileOneIsOutUntilItIsBack) {
  EXPECT_EQ(Arrive(), Part::kAlone);
  EXPECT_EQ(Arrive(), Part::kLead);
  EXPECT_EQ(gate_.LeaveAt(), kStart + kWait);
  EXPECT_EQ(Arrive(kStart + milliseconds(1)), Part::kFollow);
  EXPECT_EQ(gate_.LeaveAt(), kStart + kWait) << "counted from its opening on";
  gate_.Back();
  EXPECT_LT(gate_.LeaveAt(), kStart);
  gate_.Close();
  EXPECT_EQ(Arrive(), Part::kLead) << "the batch is out now";
}

TEST_F(BatchGateTest, ALeaderThatIsNotReadyIsFollowedOn) {
  Arrive();
  Arrive();
  gate_.Back();
  EXPECT_EQ(Arrive(kStart + 10 * kWait), Part::kFollow);
}

TEST_F(BatchGateTest, AFullBatchIsClosedAndTheNextIsAnother) {
  Arrive();
  EXPECT_EQ(Arrive(), Part::kLead);
  EXPECT_EQ(Arrive(), Part::kFollow);
  EXPECT_TRUE(gate_.HasOpen());
  EXPECT_EQ(Arrive(), Part::kFollow);
  EXPECT_FALSE(gate_.HasOpen());
  EXPECT_EQ(Arrive(), Part::kLead);
}

TEST_F(BatchGateTest, HoldsNoMoreThanThereIsMemoryFor) {
  Arrive();
  EXPECT_EQ(Arrive(), Part::kLead);
  gate_.Limit(2);
  EXPECT_EQ(Arrive(), Part::kFollow);
  EXPECT_FALSE(gate_.HasOpen());
  EXPECT_EQ(Arrive(), Part::kLead);
  gate_.Limit(1);
  EXPECT_FALSE(gate_.HasOpen());
}

TEST_F(BatchGateTest, RowsOfOneBatchAreAlike) {
  Arrive();
  EXPECT_EQ(Arrive(), Part::kLead);
  EXPECT_EQ(gate_.Arrive(kOtherShape, Deadline(kStart + seconds(1)), kStart), Part::kAlone);
  EXPECT_EQ(Arrive(), Part::kFollow);
}

TEST_F(BatchGateTest, NobodyFollowsALeaderWithFarLessTime) {
  Arrive();
  EXPECT_EQ(Arrive(kStart, milliseconds(100)), Part::kLead);
  EXPECT_EQ(Arrive(kStart, milliseconds(201)), Part::kAlone);
  EXPECT_EQ(Arrive(kStart, milliseconds(200)), Part::kFollow);
  EXPECT_EQ(Arrive(kStart, milliseconds(1)), Part::kFollow)
      << "less time than the leader's is fine";
}

TEST_F(BatchGateTest, BatchesOfOneNeverGather) {
  BatchGate gate({.max_rows = 1, .wait = kWait});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(gate.Arrive(kShape, Deadline(kStart), kStart), Part::kAlone);
  }
}

// All histories of up to eight events, against the promises alone.
TEST_F(BatchGateTest, KeepsItsPromisesInEveryShortHistory) {
  struct World {
    BatchGate gate{{.max_rows = 3, .wait = kWait}};
    int out = 0;
    int rows = 0;  // of the open batch; 0: there is none
    TimePoint opened{};
    bool came_back = false;  // since it was opened
    TimePoint now = kStart;
  };
  int histories = 0;
  const std::function<void(World, int, std::string)> explore = [&](const World& before, int depth,
                                                                   const std::string& history) {
    SCOPED_TRACE(history);
    ++histories;
    ASSERT_EQ(before.gate.HasOpen(), before.rows > 0);
    if (before.rows > 0) {
      if (before.came_back) {
        ASSERT_LE(before.gate.LeaveAt(), before.now);
      } else {
        ASSERT_EQ(before.gate.LeaveAt(), before.opened + kWait);
        ASSERT_GT(before.out, 0) << "it waits for nothing";
      }
    }
    if (depth == 0) return;
    {
      World world = before;
      const Part part = world.gate.Arrive(kShape, Deadline(world.now + seconds(1)), world.now);
      if (world.rows > 0) {
        ASSERT_EQ(part, Part::kFollow);
        if (++world.rows == 3) {
          world.rows = 0;
          ++world.out;
        }
      } else if (world.out == 0) {
        ASSERT_EQ(part, Part::kAlone);
        ++world.out;
      } else {
        ASSERT_EQ(part, Part::kLead);
        world.rows = 1;
        world.opened = world.now;
        world.came_back = false;
      }
      explore(world, depth - 1, history + 'a');
    }
    {
      World world = before;
      const Part part = world.gate.Arrive(kOtherShape, Deadline(world.now + seconds(1)), world.now);
      if (world.rows > 0 || world.out == 0) {
        ASSERT_EQ(part, Part::kAlone);
        ++world.out;
        explore(world, depth - 1, history + 'o');
      }
    }
    if (before.rows > 0) {
      World world = before;
      world.gate.Close();
      world.rows = 0;
      ++world.out;
      explore(world, depth - 1, history + 'c');
    }
    if (before.out > 0) {
      World world = before;
      world.gate.Back();
      --world.out;
      world.came_back = true;
      explore(world, depth - 1, history + 'b');
    }
    {
      World world = before;
      world.now += milliseconds(1);
      explore(world, depth - 1, history + 't');
    }
  };
  explore({}, 8, "");
  EXPECT_GT(histories, 10'000);
}

}  // namespace
}  // namespace inferpool::backend
