// backend::OffsetAllocator against a map of which unit is whose.
#include "worker/backend/shm/offset_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace inferpool::backend {
namespace {

constexpr std::size_t kUnit = OffsetAllocator::kAlignment;

TEST(OffsetAllocatorTest, GivesTheLowestPlaceInWholeUnits) {
  OffsetAllocator allocator(10 * kUnit + 5);
  EXPECT_EQ(allocator.free_bytes(), 10 * kUnit);
  EXPECT_EQ(allocator.Allocate(1), 0U);
  EXPECT_EQ(allocator.Allocate(kUnit + 1), kUnit);
  EXPECT_EQ(allocator.Allocate(kUnit), 3 * kUnit);
  allocator.Free(kUnit, kUnit + 1);
  EXPECT_EQ(allocator.Allocate(3 * kUnit), 4 * kUnit) << "the gap of two does not do";
  EXPECT_EQ(allocator.Allocate(0), kUnit) << "a block of nothing has a place of its own";
}

TEST(OffsetAllocatorTest, RefusesWhatDoesNotFit) {
  OffsetAllocator allocator(4 * kUnit);
  EXPECT_FALSE(allocator.Allocate(4 * kUnit + 1));
  EXPECT_FALSE(allocator.Allocate(~std::size_t{0}));
  EXPECT_TRUE(allocator.Allocate(4 * kUnit));
  EXPECT_FALSE(allocator.Allocate(0));
  EXPECT_FALSE(OffsetAllocator(kUnit - 1).Allocate(0));
}

// Every order in which four neighbors can be given back ends in one run.
TEST(OffsetAllocatorTest, NeighborsBecomeOneRunInWhateverOrderTheyComeBack) {
  std::vector<std::size_t> order = {0, 1, 2, 3};
  do {
    OffsetAllocator allocator(6 * kUnit);
    for (std::size_t i = 0; i < 4; ++i) ASSERT_EQ(allocator.Allocate(kUnit), i * kUnit);
    for (const std::size_t i : order) allocator.Free(i * kUnit, kUnit);
    EXPECT_EQ(allocator.free_runs(), 1U);
    EXPECT_EQ(allocator.Allocate(6 * kUnit), 0U);
  } while (std::ranges::next_permutation(order).found);
}

TEST(OffsetAllocatorTest, BlocksNeverOverlapAndNothingIsLost) {
  constexpr std::size_t kUnits = 64;
  OffsetAllocator allocator(kUnits * kUnit);
  std::vector<bool> taken(kUnits);
  struct Block {
    std::size_t offset, bytes;
  };
  std::vector<Block> blocks;
  std::mt19937 random(1);
  const auto mark = [&](const Block& block, bool value) {
    for (std::size_t i = 0; i < OffsetAllocator::Rounded(block.bytes) / kUnit; ++i) {
      ASSERT_NE(taken[block.offset / kUnit + i], value);
      taken[block.offset / kUnit + i] = value;
    }
  };
  for (int step = 0; step < 50'000; ++step) {
    if (random() % 2 == 0) {
      const std::size_t bytes = random() % (8 * kUnit);
      const auto offset = allocator.Allocate(bytes);
      // First fit: the first run of free units that is long enough.
      std::size_t run = 0;
      std::size_t wanted = OffsetAllocator::Rounded(bytes) / kUnit;
      std::optional<std::size_t> expected;
      for (std::size_t i = 0; i < kUnits && !expected; ++i) {
        run = taken[i] ? 0 : run + 1;
        if (run == wanted) expected = (i + 1 - wanted) * kUnit;
      }
      ASSERT_EQ(offset, expected);
      if (!offset) continue;
      blocks.push_back({*offset, bytes});
      mark(blocks.back(), true);
    } else if (!blocks.empty()) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      allocator.Free(blocks.back().offset, blocks.back().bytes);
      mark(blocks.back(), false);
      blocks.pop_back();
    }
    const auto free = static_cast<std::size_t>(std::ranges::count(taken, false));
    ASSERT_EQ(allocator.free_bytes(), free * kUnit);
    std::size_t runs = 0;
    for (std::size_t i = 0; i < kUnits; ++i) runs += !taken[i] && (i == 0 || taken[i - 1]);
    ASSERT_EQ(allocator.free_runs(), runs);
  }
}

TEST(OffsetAllocatorDeathTest, AbortsWhenABlockComesBackTwice) {
  OffsetAllocator allocator(4 * kUnit);
  ASSERT_TRUE(allocator.Allocate(2 * kUnit));
  allocator.Free(0, 2 * kUnit);
  EXPECT_DEATH(allocator.Free(0, 2 * kUnit), "");
  EXPECT_DEATH(allocator.Free(kUnit, kUnit), "");
  EXPECT_DEATH(allocator.Free(4 * kUnit, kUnit), "");
  EXPECT_DEATH(allocator.Free(7, 1), "");
}

}  // namespace
}  // namespace inferpool::backend
