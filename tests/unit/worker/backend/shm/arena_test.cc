// backend::Arena and backend::ArenaPool in the real /dev/shm.
#include "worker/backend/shm/arena.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/worker/backend/shm/shared_memory_folder.h"
#include "worker/backend/shm/arena_pool.h"

namespace inferpool::backend {
namespace {

using test::SharedMemoryFolder;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kBytes = 1 << 20;

std::shared_ptr<Arena> MakeArena(const SharedMemoryFolder& folder, std::size_t bytes = kBytes) {
  auto arena = Arena::Create(folder.domain(), bytes);
  EXPECT_TRUE(arena.ok()) << arena.status();
  return arena.ok() ? *arena : nullptr;
}

TEST(ArenaTest, IsAFileOfItsSizeThatItsGroupMayWrite) {
  const SharedMemoryFolder folder;
  const mode_t before = umask(0777);
  const auto arena = MakeArena(folder);
  umask(before);
  EXPECT_THAT(folder.Names(), ElementsAre(arena->name()));
  struct stat status {};
  ASSERT_EQ(stat(SegmentPath(arena->name()).c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), kBytes);
  EXPECT_GE(static_cast<std::size_t>(status.st_blocks) * 512, kBytes) << "reserved";
  EXPECT_EQ(status.st_mode & 07777, 0660U);
}

TEST(ArenaTest, IsLockedWhileItLives) {
  const SharedMemoryFolder folder;
  auto arena = MakeArena(folder);
  const FileDescriptor other(open(SegmentPath(arena->name()).c_str(), O_RDONLY));
  EXPECT_NE(flock(other.get(), LOCK_EX | LOCK_NB), 0);
  arena.reset();
  EXPECT_EQ(flock(other.get(), LOCK_EX | LOCK_NB), 0);
}

TEST(ArenaTest, OthersSeeWhatIsWrittenToABlockAtItsOffset) {
  const SharedMemoryFolder folder;
  const auto arena = MakeArena(folder);
  const Lease first = arena->Allocate(100);
  const Lease second = arena->Allocate(5);
  ASSERT_TRUE(second);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(second.bytes().data()) % 64, 0U);
  ASSERT_EQ(second.bytes().size(), 5U);
  std::memcpy(second.bytes().data(), "hello", 5);
  char text[5] = {};
  const FileDescriptor file(open(SegmentPath(arena->name()).c_str(), O_RDONLY));
  ASSERT_EQ(pread(file.get(), text, 5, static_cast<off_t>(second.offset())), 5);
  EXPECT_EQ(std::string_view(text, 5), "hello");
}

TEST(ArenaTest, NoNameIsGivenTwice) {
  const SharedMemoryFolder folder;
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) names.push_back(MakeArena(folder)->name());
  EXPECT_NE(names[0], names[1]);
  EXPECT_NE(names[1], names[2]);
  EXPECT_TRUE(names[0].starts_with(SegmentPrefix(folder.domain())));
  EXPECT_NE(SegmentPrefix(folder.domain()), SegmentPrefix("another"));
}

TEST(ArenaTest, LeavesNothingWhenNoServerWasToldItsName) {
  const SharedMemoryFolder folder;
  MakeArena(folder);
  EXPECT_THAT(folder.Names(), IsEmpty());
}

TEST(ArenaTest, LeavesItsNameToTheSweepWhenAServerMayKnowIt) {
  const SharedMemoryFolder folder;
  auto arena = MakeArena(folder);
  arena->GiveOut();
  const std::string name = arena->name();
  arena.reset();
  EXPECT_THAT(folder.Names(), ElementsAre(name));
}

TEST(ArenaTest, MoreThanThereIsOfMemoryIsAnError) {
  const SharedMemoryFolder folder;
  struct statvfs status {};
  ASSERT_EQ(statvfs("/dev/shm", &status), 0);
  const auto arena =
      Arena::Create(folder.domain(), std::size_t{status.f_blocks + 1} * status.f_frsize);
  EXPECT_EQ(arena.status().code(), absl::StatusCode::kResourceExhausted) << arena.status();
  EXPECT_THAT(folder.Names(), IsEmpty());
}

TEST(ArenaTest, AnEndedLeaseIsReusedARetiredOneNever) {
  const SharedMemoryFolder folder;
  const auto arena = MakeArena(folder);
  Lease lease = arena->Allocate(100);
  EXPECT_EQ(lease.offset(), 0U);
  lease = Lease();
  lease = arena->Allocate(100);
  EXPECT_EQ(lease.offset(), 0U);
  lease.Retire();
  lease = Lease();
  lease = arena->Allocate(100);
  EXPECT_EQ(lease.offset(), 128U);
}

TEST(ArenaTest, AMovedLeaseEndsOnceAndStaysRetired) {
  const SharedMemoryFolder folder;
  const auto arena = MakeArena(folder);
  {
    Lease first = arena->Allocate(64);
    Lease second = std::move(first);
    EXPECT_FALSE(first);
    EXPECT_TRUE(second);
    second.Retire();
    const Lease third(std::move(second));
    EXPECT_EQ(third.bytes().size(), 64U);
  }
  EXPECT_EQ(arena->Allocate(64).offset(), 64U);
}

TEST(ArenaTest, IsWornWhenHalfOfItIsRetired) {
  const SharedMemoryFolder folder;
  const auto arena = MakeArena(folder);
  const auto retire = [&](std::size_t bytes) { arena->Allocate(bytes).Retire(); };
  retire(kBytes / 4);
  retire(kBytes / 4 - 64);
  EXPECT_FALSE(arena->Worn());
  retire(1);
  EXPECT_TRUE(arena->Worn());
}

TEST(ArenaTest, LivesAsLongAsALease) {
  const SharedMemoryFolder folder;
  auto arena = MakeArena(folder);
  Lease lease = arena->Allocate(100);
  arena.reset();
  std::memset(lease.bytes().data(), 1, 100);
  EXPECT_EQ(folder.Names().size(), 1U);
  lease = Lease();
  EXPECT_THAT(folder.Names(), IsEmpty());
}

TEST(ArenaTest, ABlockOnTheHeapBelongsToNoArena) {
  Lease lease = Lease::OnHeap(100);
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease.arena(), nullptr);
  EXPECT_EQ(lease.bytes().size(), 100U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(lease.bytes().data()) % 64, 0U);
  std::memset(lease.bytes().data(), 1, 100);
  lease.Retire();
  EXPECT_FALSE(Lease::OnHeap(~std::size_t{0}));
}

TEST(ArenaTest, ThreadsNeverShareABlock) {
  const SharedMemoryFolder folder;
  const auto arena = MakeArena(folder, 64 * 1024);
  std::vector<std::jthread> threads;
  std::atomic<int> spoiled = 0;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::minstd_rand random(static_cast<unsigned>(thread + 1));
      for (int i = 0; i < 3000; ++i) {
        Lease lease = arena->Allocate(random() % 16'384);
        if (!lease) continue;
        std::memset(lease.bytes().data(), thread, lease.bytes().size());
        std::this_thread::yield();
        for (const std::byte byte : lease.bytes()) spoiled += byte != std::byte(thread);
        if (i == 1000) lease.Retire();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(spoiled, 0);
}

TEST(ArenaPoolTest, ReplacesAWornArenaOnceItsPredecessorIsSwept) {
  const SharedMemoryFolder folder;
  ArenaPool pool(folder.domain(), kBytes);
  EXPECT_THAT(folder.Names(), IsEmpty());
  const TimePoint now{};
  const auto wear = [&] {
    Lease lease = pool.Allocate(kBytes / 2, now);
    ASSERT_TRUE(lease);
    lease.arena()->GiveOut();
    lease.Retire();
  };
  wear();
  const std::string first = pool.Allocate(1, now).arena()->name();  // the second arena by now
  ASSERT_EQ(folder.Names().size(), 2U);
  wear();
  EXPECT_EQ(pool.Allocate(1, now).arena()->name(), first) << "the worn one is still of use";
  EXPECT_EQ(folder.Names().size(), 2U);
  for (const std::string& name : folder.Names()) {
    if (name != first) unlink(SegmentPath(name).c_str());
  }
  EXPECT_NE(pool.Allocate(1, now).arena()->name(), first);
  EXPECT_EQ(folder.Names().size(), 2U);
}

TEST(ArenaPoolTest, GivesNothingWhenThereIsNoMemoryOrItIsClosed) {
  const SharedMemoryFolder folder;
  ArenaPool none(folder.domain(), std::size_t{1} << 60);
  EXPECT_FALSE(none.Allocate(1, Clock::now()));
  ArenaPool pool(folder.domain(), kBytes);
  EXPECT_FALSE(pool.Allocate(kBytes + 1, Clock::now()));
  const Lease lease = pool.Allocate(1, Clock::now());
  EXPECT_TRUE(lease);
  pool.Close();
  EXPECT_FALSE(pool.Allocate(1, Clock::now()));
}

}  // namespace
}  // namespace inferpool::backend
