#include "worker/backend/shm/tensor_memory.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/worker/backend/shm/shared_memory_folder.h"

namespace inferpool::backend {
namespace {

constexpr std::size_t kMessage = std::size_t{1} << 20;
constexpr std::size_t kArena = 1024;

class TensorMemoryTest : public testing::Test {
 protected:
  TensorMemory Make(Transport transport, std::size_t message_bytes = kMessage) {
    return {transport, folder_.domain(), kArena, message_bytes};
  }

  const test::SharedMemoryFolder folder_;
};

TEST_F(TensorMemoryTest, RowsLieInSharedMemoryWhereThereIsRoom) {
  for (const Transport transport : {Transport::kAuto, Transport::kShm}) {
    TensorMemory memory = Make(transport);
    const Lease lease = memory.AllocateRows(100, 4);
    EXPECT_NE(lease.arena(), nullptr);
    EXPECT_EQ(lease.bytes().size(), 400U);
  }
}

TEST_F(TensorMemoryTest, RowsForMessagesLieOnTheHeap) {
  TensorMemory memory = Make(Transport::kInline);
  const Lease lease = memory.AllocateRows(100, 4);
  EXPECT_TRUE(lease);
  EXPECT_EQ(lease.arena(), nullptr);
  EXPECT_TRUE(folder_.Names().empty());
}

TEST_F(TensorMemoryTest, ThereAreAsManyRowsAsFindRoom) {
  TensorMemory memory = Make(Transport::kAuto);
  EXPECT_EQ(memory.AllocateRows(256, 16).bytes().size(), 4U * 256);
  const Lease half = memory.AllocateRows(512, 1);
  EXPECT_EQ(memory.AllocateRows(256, 4).bytes().size(), 2U * 256);
}

TEST_F(TensorMemoryTest, OnlyASingleRowGoesToTheHeapForWantOfSharedMemory) {
  TensorMemory memory = Make(Transport::kAuto);
  const Lease all = memory.AllocateRows(kArena, 1);
  ASSERT_NE(all.arena(), nullptr);
  const Lease lease = memory.AllocateRows(64, 8);
  EXPECT_EQ(lease.bytes().size(), 64U);
  EXPECT_EQ(lease.arena(), nullptr);
}

TEST_F(TensorMemoryTest, WhereSharedMemoryIsAMustThereIsNoOther) {
  TensorMemory memory = Make(Transport::kShm);
  const Lease all = memory.AllocateRows(kArena, 1);
  EXPECT_FALSE(memory.AllocateRows(64, 8));
  EXPECT_FALSE(memory.AllocateRows(2 * kArena, 1));
}

TEST_F(TensorMemoryTest, ABatchFitsAMessageUnlessItGoesBySharedMemoryForSure) {
  constexpr std::size_t kForTwo = (64 << 10) + 2 * 100;
  EXPECT_EQ(Make(Transport::kAuto, kForTwo).AllocateRows(100, 8).bytes().size(), 200U);
  EXPECT_EQ(Make(Transport::kInline, kForTwo).AllocateRows(100, 8).bytes().size(), 200U);
  EXPECT_EQ(Make(Transport::kShm, kForTwo).AllocateRows(100, 8).bytes().size(), 800U);
  EXPECT_EQ(Make(Transport::kAuto, 10).AllocateRows(100, 8).bytes().size(), 100U)
      << "a single row in any case";
}

TEST_F(TensorMemoryTest, WhatNoComputerHasIsNotThere) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  for (const Transport transport : {Transport::kAuto, Transport::kShm, Transport::kInline}) {
    EXPECT_FALSE(Make(transport).AllocateRows(kMost, 4));
  }
}

}  // namespace
}  // namespace inferpool::backend
