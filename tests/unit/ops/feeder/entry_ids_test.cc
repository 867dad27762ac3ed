#include "ops/feeder/entry_ids.h"

#include <gtest/gtest.h>

namespace inferpool::feeder {
namespace {

TEST(EntryIdTest, IsReadAsItIsWritten) {
  const EntryId id{.ms = 1'700'000'000'000, .number = 7};
  EXPECT_EQ(id.Text(), "1700000000000-7");
  EXPECT_EQ(EntryId::Parse(id.Text()), id);
  for (const char* text :
       {"", "-", "1", "1-", "-1", "a-1", "1-1x", " 1-1", "99999999999999999999-1"}) {
    EXPECT_FALSE(EntryId::Parse(text)) << text;
  }
}

TEST(EntryIdsTest, GrowWithTheClock) {
  EntryIds ids;
  EXPECT_EQ(ids.Next(1'000).Text(), "1000-0");
  EXPECT_EQ(ids.Next(1'001).Text(), "1001-0");
  EXPECT_EQ(ids.Next(1'001).Text(), "1001-1");
}

TEST(EntryIdsTest, GrowWhateverTheClockDoes) {
  EntryIds ids;
  EXPECT_EQ(ids.Next(1'000).Text(), "1000-0");
  EXPECT_EQ(ids.Next(10).Text(), "1000-1");
  EXPECT_EQ(ids.Next(-5).Text(), "1000-2");
  EXPECT_EQ(EntryIds().Next(-5).Text(), "1-0");
}

TEST(EntryIdsTest, FollowAStreamThatIsAhead) {
  EntryIds ids;
  ids.Follow({.ms = 5'000, .number = 3});
  ids.Follow({.ms = 4'000, .number = 9});
  EXPECT_EQ(ids.Next(1'000).Text(), "5000-4");
  EXPECT_EQ(ids.Next(6'000).Text(), "6000-0");
}

}  // namespace
}  // namespace inferpool::feeder
