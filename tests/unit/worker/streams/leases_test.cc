#include "worker/streams/leases.h"

#include <gtest/gtest.h>

#include <vector>

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;
using Shards = std::vector<int>;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(LeasesTest, AWantedShardIsTriedAtOnceAndThenEachSecond) {
  Leases leases(4);
  leases.Want(Shards{1, 3}, kStart);
  EXPECT_EQ(leases.WhatIsDue(kStart).acquire, (Shards{1, 3}));
  leases.Refused(1, kStart);
  leases.Acquired(3, "t", kStart);
  EXPECT_EQ(leases.WhatIsDue(kStart + milliseconds(999)).acquire, Shards{});
  EXPECT_EQ(leases.WhatIsDue(kStart + milliseconds(1'000)).acquire, Shards{1});
  EXPECT_EQ(leases.NextDue(), kStart + milliseconds(1'000));
  leases.TryNow();
  EXPECT_EQ(leases.WhatIsDue(kStart).acquire, Shards{1});
}

TEST(LeasesTest, ALeaseIsRenewedEachSecond) {
  Leases leases(1);
  leases.Want(Shards{0}, kStart);
  leases.Acquired(0, "t", kStart);
  EXPECT_TRUE(leases.WhatIsDue(kStart + milliseconds(999)).renew.empty());
  EXPECT_EQ(leases.WhatIsDue(kStart + milliseconds(1'000)).renew, Shards{0});
  leases.Renewed(0, kStart + milliseconds(1'000));
  EXPECT_TRUE(leases.WhatIsDue(kStart + milliseconds(1'999)).renew.empty());
}

TEST(LeasesTest, NothingIsTakenOnceTheLeaseMayHaveEnded) {
  Leases leases(1);
  leases.Want(Shards{0}, kStart);
  leases.Acquired(0, "t", kStart);
  EXPECT_TRUE(leases.MayTake(0, kStart + milliseconds(2'999)));
  EXPECT_FALSE(leases.MayTake(0, kStart + milliseconds(3'000)));
  EXPECT_TRUE(leases.Has(0));  // its answers are still tried
  leases.Lost(0, kStart);
  EXPECT_FALSE(leases.Has(0));
  EXPECT_EQ(leases.owned(), 0);
}

TEST(LeasesTest, AShardThatIsNotWantedIsLetGoWhenNothingOfItIsInWork) {
  Leases leases(2);
  leases.Want(Shards{0, 1}, kStart);
  leases.Acquired(0, "a", kStart);
  leases.Acquired(1, "b", kStart);
  leases.Began(1);
  leases.Want(Shards{}, kStart);
  EXPECT_FALSE(leases.MayTake(1, kStart));
  EXPECT_EQ(leases.WhatIsDue(kStart).release, Shards{0});
  EXPECT_EQ(leases.WhatIsDue(kStart + milliseconds(1'000)).renew, Shards{1});
  leases.Ended(1);
  EXPECT_EQ(leases.WhatIsDue(kStart).release, (Shards{0, 1}));
}

}  // namespace
}  // namespace inferpool::streams
