#include "modelserver/onnxruntime/block_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

namespace inferpool::ort {
namespace {

constexpr std::size_t kMebi = std::size_t{1} << 20U;

TEST(BlockCache, GivesAlignedMemoryOfAnySize) {
  BlockCache cache(kMebi);
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{1000},
        BlockCache::kMinKept - 1, BlockCache::kMinKept, 3 * kMebi + 1}) {
    void* memory = cache.Take(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % BlockCache::kAlignment, 0U);
    std::memset(memory, 0x5a, bytes);
    cache.Give(memory);
  }
  EXPECT_EQ(cache.Take(std::numeric_limits<std::size_t>::max()), nullptr);
  EXPECT_EQ(cache.Take(std::size_t{1} << 60U), nullptr);
  cache.Give(nullptr);
}

TEST(BlockCache, KeepsALargeBlockForWhatIsAboutItsSize) {
  BlockCache cache(100 * kMebi);
  void* memory = cache.Take(10 * kMebi);
  cache.Give(memory);
  EXPECT_GE(cache.kept(), 10 * kMebi);
  void* smaller = cache.Take(5 * kMebi);  // less than the block is worth
  EXPECT_NE(smaller, memory);
  EXPECT_EQ(cache.Take(9 * kMebi), memory);
  EXPECT_EQ(cache.kept(), 0U);
  cache.Give(memory);
  cache.Give(smaller);
}

TEST(BlockCache, KeepsWhatWasInUseAtOneTimeAndForgetsIt) {
  const TimePoint start = Clock::now();
  BlockCache cache(25 * kMebi);
  const auto take = [&](std::size_t count, TimePoint now) {
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < count; ++i) blocks.push_back(cache.Take(10 * kMebi, now));
    for (void* block : blocks) cache.Give(block, now);
  };
  take(6, start);
  EXPECT_GE(cache.kept(), 60 * kMebi);  // the next run wants it again
  take(6, start + BlockCache::kMemory);
  EXPECT_GE(cache.kept(), 60 * kMebi);
  for (int i = 2; i < 5; ++i) take(1, start + i * BlockCache::kMemory);
  EXPECT_LE(cache.kept(), 25 * kMebi);
  EXPECT_GE(cache.kept(), 20 * kMebi);
}

TEST(BlockCache, HasNoMoreThanWasNeededAtOneTime) {
  const TimePoint now = Clock::now();
  BlockCache cache(5 * kMebi);
  cache.Give(cache.Take(30 * kMebi, now), now);
  // It fits no block of another size, which therefore takes its place.
  void* other = cache.Take(10 * kMebi, now);
  EXPECT_EQ(cache.kept(), 0U);
  cache.Give(other, now);
  EXPECT_GE(cache.kept(), 10 * kMebi);
}

TEST(BlockCache, IsSafeUnderManyThreads) {
  BlockCache cache(8 * kMebi);
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&cache, i] {
      std::minstd_rand random(i + 1);
      std::vector<std::pair<unsigned char*, std::size_t>> mine;
      for (int round = 0; round < 2000; ++round) {
        if (mine.size() < 8 && random() % 2 == 0) {
          const std::size_t bytes = 1 + random() % kMebi;
          auto* memory = static_cast<unsigned char*>(cache.Take(bytes));
          ASSERT_NE(memory, nullptr);
          memory[0] = memory[bytes - 1] = static_cast<unsigned char>(i);
          mine.emplace_back(memory, bytes);
        } else if (!mine.empty()) {
          const auto [memory, bytes] = mine.back();
          EXPECT_EQ(memory[0], i);  // nobody else had it meanwhile
          EXPECT_EQ(memory[bytes - 1], i);
          cache.Give(memory);
          mine.pop_back();
        }
      }
      for (const auto& [memory, bytes] : mine) cache.Give(memory);
    });
  }
  threads.clear();
  EXPECT_LE(cache.kept(), 40 * kMebi);  // four threads with eight blocks
}

}  // namespace
}  // namespace inferpool::ort
