// backend::SweepSegments: what owners leave behind, however they end.
#include "worker/backend/shm/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/worker/backend/shm/shared_memory_folder.h"

namespace inferpool::backend {
namespace {

using std::chrono::seconds;
using test::ChildProcess;
using test::Eventually;
using test::SharedMemoryFolder;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SweepTest : public testing::Test {
 protected:
  // A process that holds an arena until it is killed.
  std::unique_ptr<ChildProcess> Owner() {
    const std::size_t before = folder_.Names().size();
    auto owner = std::make_unique<ChildProcess>([this] {
      const auto arena = Arena::Create(folder_.domain(), 64 * 1024);
      if (!arena.ok()) return 1;
      (*arena)->GiveOut();
      pause();
      return 0;
    });
    EXPECT_TRUE(Eventually([&] { return folder_.Names().size() > before; }));
    return owner;
  }

  Swept Sweep(absl::Status unregistered = absl::OkStatus(),
              Deadline deadline = Deadline::After(seconds(10))) {
    return SweepSegments(
        folder_.domain(),
        [&](const std::string& name) {
          unregistered_.push_back(name);
          return unregistered;
        },
        deadline);
  }

  SharedMemoryFolder folder_;
  std::vector<std::string> unregistered_;
};

TEST_F(SweepTest, TakesTheSegmentOfAKilledProcessButNotOfALiveOne) {
  const auto dying = Owner();
  const std::string dead = folder_.Names().front();
  const auto living = Owner();
  EXPECT_EQ(Sweep().in_use, 2);
  EXPECT_THAT(unregistered_, IsEmpty());
  dying->Signal(SIGKILL);
  ASSERT_TRUE(dying->Wait(seconds(5)));
  const Swept swept = Sweep();
  EXPECT_EQ(swept.removed, 1);
  EXPECT_EQ(swept.in_use, 1);
  EXPECT_THAT(unregistered_, ElementsAre(dead));
  EXPECT_EQ(folder_.Names().size(), 1U);
  EXPECT_NE(folder_.Names().front(), dead);
}

TEST_F(SweepTest, TakesAnArenaThatItsOwnProcessLetGo) {
  auto arena = *Arena::Create(folder_.domain(), 4096);
  arena->GiveOut();
  EXPECT_EQ(Sweep().in_use, 1);
  arena.reset();
  EXPECT_EQ(Sweep().removed, 1);
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

TEST_F(SweepTest, LeavesWhatCouldNotBeUnregisteredForTheNextTime) {
  (*Arena::Create(folder_.domain(), 4096))->GiveOut();
  EXPECT_EQ(Sweep(absl::DeadlineExceededError("")).left, 1);
  EXPECT_EQ(Sweep(absl::OkStatus(), Deadline(Clock::now())).left, 1);
  EXPECT_EQ(folder_.Names().size(), 1U);
  EXPECT_EQ(Sweep().removed, 1);
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

TEST_F(SweepTest, TouchesNoOtherDomainsAndNoOtherFiles) {
  const SharedMemoryFolder other;
  (*Arena::Create(other.domain(), 4096))->GiveOut();
  const std::string almost = SegmentPrefix(folder_.domain()) + "0123456789abcdeg";
  const std::string longer = SegmentPrefix(folder_.domain()) + "0123456789abcdef0";
  for (const std::string& name : {almost, longer}) test::WriteFile(SegmentPath(name), "");
  const Swept swept = Sweep();
  EXPECT_EQ(swept.removed + swept.in_use + swept.left, 0);
  EXPECT_EQ(other.Names().size(), 1U);
  EXPECT_THAT(folder_.Names(), UnorderedElementsAre(almost, longer));
}

// Sweeps of many threads while arenas come and go: each is unregistered once, none that lives.
TEST_F(SweepTest, SweepsAtOnceTakeEachSegmentOnce) {
  std::atomic<bool> done = false;
  std::atomic<int> unregistered = 0;
  std::atomic<int> removed = 0;
  const auto sweep = [&] {
    removed += SweepSegments(
                   folder_.domain(),
                   [&](const std::string&) {
                     ++unregistered;
                     return absl::OkStatus();
                   },
                   Deadline::After(seconds(10)))
                   .removed;
  };
  std::vector<std::jthread> sweepers;
  for (int i = 0; i < 3; ++i) {
    sweepers.emplace_back([&] {
      while (!done) sweep();
    });
  }
  constexpr int kArenas = 1000;
  int lost = 0;
  for (int i = 0; i < kArenas; ++i) {
    const auto arena = Arena::Create(folder_.domain(), 4096);
    ASSERT_TRUE(arena.ok()) << arena.status();
    (*arena)->GiveOut();
    lost += access(SegmentPath((*arena)->name()).c_str(), F_OK) != 0;
  }
  done = true;
  sweepers.clear();
  sweep();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(unregistered, kArenas);
  EXPECT_EQ(removed, kArenas);
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

}  // namespace
}  // namespace inferpool::backend
