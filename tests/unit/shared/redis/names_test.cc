#include "shared/redis/names.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace inferpool::streams {
namespace {

// Producers in other languages compute the same; these are FNV-1a's published values modulo 32.
TEST(NamesTest, AShardIsFnv1aOfTheIdModuloTheShards) {
  EXPECT_EQ(ShardOf("", 1 << 20), 0xcbf29ce484222325 % (1 << 20));
  EXPECT_EQ(ShardOf("a", 1 << 20), 0xaf63dc4c8601ec8c % (1 << 20));
  EXPECT_EQ(ShardOf("foobar", 32), static_cast<int>(0x85944171f73967e8 % 32));
}

TEST(NamesTest, ShardsGetTheirShareOfCameras) {
  std::map<int, int> cameras;
  for (int i = 0; i < 1'000; ++i) ++cameras[ShardOf("camera-" + std::to_string(i), 32)];
  EXPECT_EQ(cameras.size(), 32);
  for (const auto& [shard, count] : cameras) {
    EXPECT_GT(count, 10) << shard;
    EXPECT_LT(count, 60) << shard;
  }
}

TEST(NamesTest, AllKeysOfAShardHaveItsTag) {
  EXPECT_EQ(FramesKey(7, "door-3"), "{s07}:cam:door-3");
  EXPECT_EQ(ResultsKey(7), "{s07}:results");
  EXPECT_EQ(LedgerKey(31), "{s31}:ledger");
  EXPECT_EQ(LeaseKey(0), "{s00}:lease");
  EXPECT_EQ(DeadKey(123), "{s123}:dead");
}

TEST(NamesTest, AnIdIsShortTextWithoutControlCharacters) {
  EXPECT_TRUE(IsCameraId("T\xc3\xbcr 3 {a:b}"));
  EXPECT_FALSE(IsCameraId(""));
  EXPECT_FALSE(IsCameraId("a\nb"));
  EXPECT_FALSE(IsCameraId("\xff"));
  EXPECT_FALSE(IsCameraId(std::string(129, 'a')));
}

}  // namespace
}  // namespace inferpool::streams
