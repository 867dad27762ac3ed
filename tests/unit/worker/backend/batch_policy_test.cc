// backend::BatchPolicy: each decision, and all short histories against what they promise.
#include "worker/backend/batch_policy.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Part = BatchPolicy::Part;

constexpr TimePoint kStart{seconds(1000)};
constexpr milliseconds kWait{2};
constexpr std::int64_t kShape[] = {3, 640, 640};
constexpr std::int64_t kOtherShape[] = {3, 320, 320};

class BatchPolicyTest : public testing::Test {
 protected:
  Part Arrive(TimePoint now = kStart, Clock::duration left = seconds(1)) {
    return policy_.Arrive(kShape, Deadline(now + left), now);
  }

  BatchPolicy policy_{{.max_rows = 3, .wait = kWait}};
};

TEST_F(BatchPolicyTest, ALoneRequestGoesAtOnceEachTime) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Arrive(), Part::kAlone);
    EXPECT_FALSE(policy_.HasOpen());
    policy_.Back();
  }
}

TEST_F(BatchPolicyTest, GathersWhileOneIsOutUntilItIsBack) {
  EXPECT_EQ(Arrive(), Part::kAlone);
  EXPECT_EQ(Arrive(), Part::kLead);
  EXPECT_EQ(policy_.SendAt(), kStart + kWait);
  EXPECT_EQ(Arrive(kStart + milliseconds(1)), Part::kFollow);
  EXPECT_EQ(policy_.SendAt(), kStart + kWait) << "counted from its opening on";
  policy_.Back();
  EXPECT_LT(policy_.SendAt(), kStart);
  policy_.Close();
  EXPECT_EQ(Arrive(), Part::kLead) << "the batch is out now";
}

TEST_F(BatchPolicyTest, ALeaderThatIsNotReadyIsFollowedOn) {
  Arrive();
  Arrive();
  policy_.Back();
  EXPECT_EQ(Arrive(kStart + 10 * kWait), Part::kFollow);
}

TEST_F(BatchPolicyTest, AFullBatchIsClosedAndTheNextIsAnother) {
  Arrive();
  EXPECT_EQ(Arrive(), Part::kLead);
  EXPECT_EQ(Arrive(), Part::kFollow);
  EXPECT_TRUE(policy_.HasOpen());
  EXPECT_EQ(Arrive(), Part::kFollow);
  EXPECT_FALSE(policy_.HasOpen());
  EXPECT_EQ(Arrive(), Part::kLead);
}

TEST_F(BatchPolicyTest, HoldsNoMoreThanThereIsMemoryFor) {
  Arrive();
  EXPECT_EQ(Arrive(), Part::kLead);
  policy_.Limit(2);
  EXPECT_EQ(Arrive(), Part::kFollow);
  EXPECT_FALSE(policy_.HasOpen());
  EXPECT_EQ(Arrive(), Part::kLead);
  policy_.Limit(1);
  EXPECT_FALSE(policy_.HasOpen());
}

TEST_F(BatchPolicyTest, RowsOfOneBatchAreAlike) {
  Arrive();
  EXPECT_EQ(Arrive(), Part::kLead);
  EXPECT_EQ(policy_.Arrive(kOtherShape, Deadline(kStart + seconds(1)), kStart), Part::kAlone);
  EXPECT_EQ(Arrive(), Part::kFollow);
}

TEST_F(BatchPolicyTest, NobodyFollowsALeaderWithFarLessTime) {
  Arrive();
  EXPECT_EQ(Arrive(kStart, milliseconds(100)), Part::kLead);
  EXPECT_EQ(Arrive(kStart, milliseconds(201)), Part::kAlone);
  EXPECT_EQ(Arrive(kStart, milliseconds(200)), Part::kFollow);
  EXPECT_EQ(Arrive(kStart, milliseconds(1)), Part::kFollow)
      << "less time than the leader's is fine";
}

TEST_F(BatchPolicyTest, BatchesOfOneNeverGather) {
  BatchPolicy policy({.max_rows = 1, .wait = kWait});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(policy.Arrive(kShape, Deadline(kStart), kStart), Part::kAlone);
  }
}

// All histories of up to eight events, against the promises alone.
TEST_F(BatchPolicyTest, KeepsItsPromisesInEveryShortHistory) {
  struct World {
    BatchPolicy policy{{.max_rows = 3, .wait = kWait}};
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
    ASSERT_EQ(before.policy.HasOpen(), before.rows > 0);
    if (before.rows > 0) {
      if (before.came_back) {
        ASSERT_LE(before.policy.SendAt(), before.now);
      } else {
        ASSERT_EQ(before.policy.SendAt(), before.opened + kWait);
        ASSERT_GT(before.out, 0) << "it waits for nothing";
      }
    }
    if (depth == 0) return;
    {
      World world = before;
      const Part part = world.policy.Arrive(kShape, Deadline(world.now + seconds(1)), world.now);
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
      const Part part =
          world.policy.Arrive(kOtherShape, Deadline(world.now + seconds(1)), world.now);
      if (world.rows > 0 || world.out == 0) {
        ASSERT_EQ(part, Part::kAlone);
        ++world.out;
        explore(world, depth - 1, history + 'o');
      }
    }
    if (before.rows > 0) {
      World world = before;
      world.policy.Close();
      world.rows = 0;
      ++world.out;
      explore(world, depth - 1, history + 'c');
    }
    if (before.out > 0) {
      World world = before;
      world.policy.Back();
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
