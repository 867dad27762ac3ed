// One process of a slot after the other; and the scoreboard as another process opens it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "shared/board/scoreboard.h"
#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::OccupiedBoard;

constexpr TimePoint kNow{std::chrono::hours(7)};

TEST(ScoreboardTenantsTest, OccupyNamesTheTenant) {
  const auto board = Scoreboard::Create(2, 4);
  ASSERT_TRUE(board.ok());
  board->Occupy(1, /*generation=*/5, /*threads=*/3, kNow);
  EXPECT_EQ(board->slot(1).process.state.load(), ProcessState::kStarting);
  EXPECT_EQ(board->slot(1).process.generation.load(), 5U);
  EXPECT_EQ(FromNs(board->slot(1).process.started_ns), kNow);
  EXPECT_EQ(board->used_thread_slots(1).size(), 3U);
  EXPECT_EQ(board->thread_slots(1).size(), 4U);
  EXPECT_TRUE(board->used_thread_slots(0).empty());
  EXPECT_EQ(board->Sum(kNow).workers().starts, 1U);
  EXPECT_EQ(board->slot(0).process.state.load(), ProcessState::kEmpty);
}

TEST(ScoreboardTenantsTest, ThreadSlotsStayUsedThoughTheNextWorkerHasFewerThreads) {
  const auto board = Scoreboard::Create(1, 8);
  ASSERT_TRUE(board.ok());
  board->Occupy(0, 1, 5, kNow);
  board->thread_slots(0)[4].CountStatus(200);
  board->Vacate(0);
  board->Occupy(0, 2, 2, kNow);
  EXPECT_EQ(board->used_thread_slots(0).size(), 5U);
  EXPECT_EQ(board->Sum(kNow).by_status[0], 1U) << "totals never fall";
  board->Occupy(0, 3, 8, kNow);
  EXPECT_EQ(board->used_thread_slots(0).size(), 8U);
}

TEST(ScoreboardTenantsTest, ATenantsOwnCountsAreWhatCameSinceItBegan) {
  const Scoreboard board = OccupiedBoard(1, 2);
  for (int i = 0; i < 3; ++i) {
    board.thread_slots(0)[1].Begin(kNow);
    board.thread_slots(0)[1].CountStage(Stage::kTotal, milliseconds(2));
    board.thread_slots(0)[1].End();
  }
  EXPECT_EQ(board.Served(0), 3U);
  board.Vacate(0);
  board.Occupy(0, 2, 2, kNow);
  EXPECT_EQ(board.slot(0).served_before.load(), 3U);
  EXPECT_EQ(Read(board.slot(0).total_before).buckets, board.Times(0).buckets);
  EXPECT_EQ(Read(board.slot(0).total_before).sum_us, 6'000U);
  board.thread_slots(0)[0].Begin(kNow);
  board.thread_slots(0)[0].End();
  EXPECT_EQ(board.Served(0) - board.slot(0).served_before, 1U);
}

TEST(ScoreboardTenantsTest, VacateForgetsWhatTheTenantLeftBehind) {
  const Scoreboard board = OccupiedBoard(1, 2);
  WorkerSlot& slot = board.slot(0);
  slot.due = 1;
  slot.crash_signal = SIGSEGV;
  slot.backtrace.count = 3;
  board.thread_slots(0)[1].thread = 77;
  board.thread_slots(0)[1].Begin(kNow);
  board.thread_slots(0)[1].backtrace.count = 4;
  board.Vacate(0);
  EXPECT_EQ(slot.process.state.load(), ProcessState::kEmpty);
  EXPECT_EQ(slot.due.load(), 0U);
  EXPECT_EQ(slot.crash_signal.load(), 0U);
  EXPECT_EQ(slot.backtrace.count.load(), 0U);
  EXPECT_EQ(board.thread_slots(0)[1].thread.load(), 0);
  EXPECT_EQ(board.thread_slots(0)[1].busy_since_ns.load(), 0);
  EXPECT_EQ(board.thread_slots(0)[1].backtrace.count.load(), 0U);
}

TEST(ScoreboardTenantsTest, AThreadSlotIsInWorkFromItsBeginningToItsEnd) {
  const Scoreboard board = OccupiedBoard(1, 2);
  ThreadSlot& thread_slot = board.thread_slots(0)[0];
  thread_slot.Begin(kNow);
  EXPECT_EQ(FromNs(thread_slot.busy_since_ns), kNow);
  EXPECT_EQ(board.Sum(kNow).in_work, 1U);
  thread_slot.task.Store({.request_id = RequestName("r"), .model = ModelName("m"), .digest = {}});
  thread_slot.End();
  EXPECT_EQ(board.Sum(kNow).in_work, 0U);
  EXPECT_EQ(thread_slot.served.load(), 1U);
  EXPECT_EQ(thread_slot.task.Load()->request_id.view(), "r") << "the latest one's stays";
  thread_slot.Begin(kNow);
  EXPECT_EQ(thread_slot.task.Load()->request_id.view(), "") << "until the next begins";
}

TEST(ScoreboardTenantsTest, TheTotalsCountThePoolsNumbersToo) {
  const Scoreboard board = OccupiedBoard(1, 1);
  board.pool().roles[kWorkerRole].wanted = 4;
  board.pool().roles[kWorkerRole].backing_off = 2;
  board.pool().quarantine.Enter({.digest = DigestOf({}, "p"),
                                 .model = ModelName("m"),
                                 .request_id = {},
                                 .until_ns = ToNs(kNow + seconds(1))});
  EXPECT_EQ(board.Sum(kNow).workers().wanted, 4U);
  EXPECT_EQ(board.Sum(kNow).workers().backing_off, 2U);
  EXPECT_EQ(board.Sum(kNow).quarantined, 1U);
  EXPECT_EQ(board.Sum(kNow + seconds(1)).quarantined, 0U) << "its time is over";
}

TEST(ScoreboardTenantsTest, TheLatestCrashesAreKeptNewestFirst) {
  const Scoreboard board = OccupiedBoard(1, 1);
  for (int i = 1; i <= 3; ++i) board.Record({.at_s = i, .pid = 100 + i, .task = {}});
  ASSERT_EQ(board.Crashes().size(), 3U);
  EXPECT_EQ(board.Crashes()[0].pid, 103);
  EXPECT_EQ(board.Crashes()[2].pid, 101);
  for (int i = 4; i <= 30; ++i) board.Record({.at_s = i, .pid = 100 + i, .task = {}});
  const std::vector<CrashRecord> crashes = board.Crashes();
  ASSERT_EQ(crashes.size(), kCrashRecords);
  for (std::size_t i = 0; i < kCrashRecords; ++i) {
    EXPECT_EQ(crashes[i].pid, 130 - static_cast<int>(i));
  }
}

// ----------------------------------------------------------------------- as a file

FileDescriptor Duplicate(const Scoreboard& board) {
  return FileDescriptor(dup(board.file()));
}

FileDescriptor Memory(std::size_t bytes) {
  FileDescriptor file(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
  return file;
}

off_t SizeOf(const Scoreboard& board) {
  return lseek(board.file(), 0, SEEK_END);
}

TEST(ScoreboardFileTest, AnotherProcessReadsWhatIsWritten) {
  const Scoreboard board = OccupiedBoard(3, 2);
  const auto other = Scoreboard::Open(Duplicate(board), Scoreboard::Access::kRead);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->slots(), 3);
  EXPECT_EQ(other->threads_per_slot(), 2);
  board.thread_slots(2)[1].CountStatus(404);
  board.Record({.at_s = 1, .pid = 9, .task = {}});
  EXPECT_EQ(other->Sum(kNow).by_status[4], 1U);
  EXPECT_EQ(other->Crashes().at(0).pid, 9);
}

TEST(ScoreboardFileTest, WhatOneThatMayWriteWritesIsSeenByAll) {
  const Scoreboard board = OccupiedBoard(1, 1);
  {
    const auto other = Scoreboard::Open(Duplicate(board), Scoreboard::Access::kWrite);
    ASSERT_TRUE(other.ok());
    other->thread_slots(0)[0].CountStatus(200);
  }
  EXPECT_EQ(board.Sum(kNow).by_status[0], 1U) << "and stays when that one has gone";
}

TEST(ScoreboardFileTest, OneForReadingCannotBeWrittenTo) {
  const Scoreboard board = OccupiedBoard(1, 1);
  const auto other = Scoreboard::Open(Duplicate(board), Scoreboard::Access::kRead);
  ASSERT_TRUE(other.ok());
  EXPECT_DEATH(other->thread_slots(0)[0].CountStatus(200), "");
}

TEST(ScoreboardFileTest, ItOutlivesAMove) {
  Scoreboard board = OccupiedBoard(1, 1);
  board.thread_slots(0)[0].CountStatus(200);
  const Scoreboard moved = std::move(board);
  EXPECT_EQ(moved.Sum(kNow).by_status[0], 1U);
  EXPECT_GE(moved.file(), 0);
}

TEST(ScoreboardFileTest, WhatIsTooSmallIsRefused) {
  for (const std::size_t bytes : {0U, 1U, 63U, 64U, 4'096U}) {
    const auto status = Scoreboard::Open(Memory(bytes), Scoreboard::Access::kRead).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << bytes << ": " << status;
  }
}

TEST(ScoreboardFileTest, WhatIsForeignIsRefused) {
  const Scoreboard board = OccupiedBoard(2, 2);
  const FileDescriptor zeros = Memory(static_cast<std::size_t>(SizeOf(board)));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Scoreboard::Open(FileDescriptor(dup(zeros.get())), Scoreboard::Access::kRead).status()));
}

TEST(ScoreboardFileTest, OneOfAnotherLayoutOrSizeIsRefused) {
  // The head is the magic number, the layout's hash, and the numbers of slots and thread slots.
  struct Change {
    off_t at;
    std::uint32_t by;
  };
  for (const Change change : {Change{0, 1}, {8, 1}, {16, 1}, {20, 1}, {16, 0x8000'0000U}}) {
    const Scoreboard board = OccupiedBoard(2, 2);
    std::uint32_t word = 0;
    ASSERT_EQ(pread(board.file(), &word, sizeof(word), change.at), 4);
    word += change.by;
    ASSERT_EQ(pwrite(board.file(), &word, sizeof(word), change.at), 4);
    const auto status = Scoreboard::Open(Duplicate(board), Scoreboard::Access::kWrite).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << change.at << ": " << status;
  }
  const Scoreboard board = OccupiedBoard(2, 2);
  ASSERT_EQ(ftruncate(board.file(), SizeOf(board) + 64), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Scoreboard::Open(Duplicate(board), Scoreboard::Access::kWrite).status()));
}

TEST(ScoreboardFileTest, WhatIsNoFileIsAnErrorAndNoCrash) {
  EXPECT_FALSE(Scoreboard::Open(FileDescriptor(), Scoreboard::Access::kRead).ok());
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const FileDescriptor writer(ends[1]);
  EXPECT_FALSE(Scoreboard::Open(FileDescriptor(ends[0]), Scoreboard::Access::kRead).ok());
}

TEST(ScoreboardFileTest, MemoryThatIsNotUsedCostsNothing) {
  const auto board = Scoreboard::Create(512, 256);
  ASSERT_TRUE(board.ok()) << board.status();
  struct stat info {};
  ASSERT_EQ(fstat(board->file(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, 256 * 1024) << "of " << info.st_size;
}

}  // namespace
}  // namespace inferpool
