#include "shared/frames/segments.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/frames/producer.h"
#include "tests/unit/shared/frames/producer_in_c.h"

namespace inferpool::frames {
namespace {

using test::ChildProcess;
using test::Parsed;
using test::Producer;

std::string TextOf(const Pin& pin) {
  const auto bytes = pin.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

absl::StatusCode CodeOf(Segments& segments, const Handle& handle) {
  return segments.Get(handle, Clock::now()).status().code();
}

class SegmentsTest : public testing::Test {
 protected:
  absl::StatusOr<Pin> Get(std::string_view text) {
    return segments_.Get(Parsed(text), Clock::now());
  }

  Segments segments_;
};

TEST_F(SegmentsTest, AFrameIsReadWhereItLies) {
  Producer producer(3, 1'000);
  const std::string first = producer.Put("first");
  const std::string second = producer.Put("second");
  const auto pin = Get(first);
  ASSERT_TRUE(pin.ok()) << pin.status();
  EXPECT_EQ(TextOf(*pin), "first");
  EXPECT_TRUE(pin->IsWhole());
  const auto other = Get(second);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(TextOf(*other), "second");
  EXPECT_EQ(segments_.open(), 1U);
  EXPECT_EQ(producer.written(), 2U);
}

TEST_F(SegmentsTest, AProducerInC) {
  std::string handle(INFERPOOL_FRAMES_TEXT, '\0');
  ASSERT_EQ(PutGreyFrame(7, handle.data(), handle.size()), 0);
  const auto pin = Get(handle.c_str());
  ASSERT_TRUE(pin.ok()) << pin.status();
  EXPECT_EQ(TextOf(*pin), std::string(8, '\7'));
  unlink(("/dev/shm/" + Parsed(handle.c_str()).segment).c_str());
}

TEST_F(SegmentsTest, AnOldHandleDoesNotGetANewFrame) {
  Producer producer(2, 100);
  const std::string old = producer.Put("old");
  producer.Put("a");
  producer.Put("b");
  EXPECT_TRUE(absl::IsNotFound(Get(old).status()));
}

TEST_F(SegmentsTest, AFrameThatIsBeingWrittenIsGone) {
  Producer producer(1, 100);
  const std::string old = producer.Put("old");
  ASSERT_NE(inferpool_frames_begin(&producer.ring(), 100), nullptr);
  EXPECT_TRUE(absl::IsNotFound(Get(old).status()));
}

TEST_F(SegmentsTest, APinnedSlotIsSkippedAndWhenAllArePinnedTheNewFrameIsDropped) {
  Producer producer(2, 100);
  const std::string first = producer.Put("first");
  auto pin = Get(first);
  ASSERT_TRUE(pin.ok()) << pin.status();
  const std::string second = producer.Put("second");
  const std::string third = producer.Put("third");
  EXPECT_EQ(Parsed(second).slot, Parsed(third).slot) << "the other one";
  EXPECT_EQ(TextOf(*pin), "first");
  auto both = Get(third);
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(producer.Put("fourth"), "");
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(producer.dropped(), 1U);
  EXPECT_TRUE(pin->IsWhole());
  EXPECT_TRUE(both->IsWhole());
  *pin = Pin();
  EXPECT_NE(producer.Put("fifth"), "");
  EXPECT_EQ(TextOf(*both), "third");
}

TEST_F(SegmentsTest, TwoPinsOfOneFrameBothCount) {
  Producer producer(1, 100);
  const std::string first = producer.Put("first");
  auto one = Get(first);
  auto other = Get(first);
  ASSERT_TRUE(one.ok() && other.ok());
  *one = Pin();
  EXPECT_EQ(producer.Put("second"), "");
  *other = Pin();
  EXPECT_NE(producer.Put("second"), "");
}

TEST_F(SegmentsTest, AFrameThatIsTooLargeIsDropped) {
  Producer producer(1, 100);
  EXPECT_EQ(producer.Put(std::string(5'000, 'a')), "");
  EXPECT_EQ(errno, EMSGSIZE);
  EXPECT_EQ(producer.dropped(), 1U);
}

TEST_F(SegmentsTest, TheRowOfAKilledReaderIsFreed) {
  Producer producer(1, 100);
  const std::string text = producer.Put("first");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  ChildProcess reader([&] {
    Segments own;
    const auto pin = own.Get(Parsed(text), Clock::now());
    const char said = pin.ok() ? 'y' : 'n';
    if (write(ready[1], &said, 1) != 1) return 1;
    while (true) pause();
  });
  char said = 0;
  ASSERT_EQ(read(ready[0], &said, 1), 1);
  ASSERT_EQ(said, 'y');
  EXPECT_EQ(producer.Put("second"), "") << "while it lives";
  reader.Signal(SIGSTOP);
  EXPECT_EQ(producer.Put("second"), "") << "and while it is stopped";
  reader.Signal(SIGKILL);
  ASSERT_TRUE(reader.Wait(std::chrono::seconds(10)));
  EXPECT_NE(producer.Put("second"), "");
  close(ready[0]);
  close(ready[1]);
}

TEST_F(SegmentsTest, MoreReadersThanRowsAreRefusedForNow) {
  Producer producer(1, 100);
  const Handle handle = Parsed(producer.Put("first"));
  std::vector<std::unique_ptr<Segments>> readers;
  for (std::uint32_t i = 0; i < INFERPOOL_FRAMES_ROWS; ++i) {
    readers.push_back(std::make_unique<Segments>());
    ASSERT_EQ(CodeOf(*readers.back(), handle), absl::StatusCode::kOk) << i;
  }
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kResourceExhausted);
  readers.pop_back();
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kOk);
}

TEST_F(SegmentsTest, AnotherMachineAndAnotherStartAreGone) {
  Producer producer(1, 100);
  Handle handle = Parsed(producer.Put("first"));
  handle.boot_id = "00000000-0000-0000-0000-000000000000";
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kNotFound);
}

TEST_F(SegmentsTest, ASegmentThatIsNoMoreIsGoneButOpenOnesStay) {
  auto producer = std::make_unique<Producer>(1, 100);
  const Handle handle = Parsed(producer->Put("first"));
  ASSERT_EQ(CodeOf(segments_, handle), absl::StatusCode::kOk);
  producer.reset();
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kOk);
  Segments later;
  EXPECT_EQ(CodeOf(later, handle), absl::StatusCode::kNotFound);
}

TEST_F(SegmentsTest, SlotsAndBytesThatTheSegmentHasNotAreRefused) {
  Producer producer(2, 100);
  const Handle good = Parsed(producer.Put("first"));
  Handle slot = good;
  slot.slot = 2;
  EXPECT_EQ(CodeOf(segments_, slot), absl::StatusCode::kInvalidArgument);
  Handle bytes = good;
  bytes.bytes = 4'097;
  EXPECT_EQ(CodeOf(segments_, bytes), absl::StatusCode::kInvalidArgument);
}

TEST_F(SegmentsTest, ALinkIsRefused) {
  Producer producer(1, 100);
  Handle handle = Parsed(producer.Put("first"));
  handle.segment = "inferpool.link-" + std::to_string(getpid());
  const std::string link = "/dev/shm/" + handle.segment;
  ASSERT_EQ(symlink(producer.path().c_str(), link.c_str()), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
  unlink(link.c_str());
}

TEST_F(SegmentsTest, WhatAllMayWriteToIsRefused) {
  Producer producer(1, 100);
  const Handle handle = Parsed(producer.Put("first"));
  ASSERT_EQ(chmod(producer.path().c_str(), 0666), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(chmod(producer.path().c_str(), 0660), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kOk);
}

TEST_F(SegmentsTest, AnotherOwnerIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  Producer producer(1, 100);
  const Handle handle = Parsed(producer.Put("first"));
  ASSERT_EQ(chown(producer.path().c_str(), 65'534, 0), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
}

TEST_F(SegmentsTest, ForeignFilesFoldersAndPipesAreRefused) {
  Producer producer(1, 100);
  Handle handle = Parsed(producer.Put("first"));
  handle.segment = "inferpool.foreign-" + std::to_string(getpid());
  const std::string path = "/dev/shm/" + handle.segment;
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
  unlink(path.c_str());
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
  rmdir(path.c_str());
  for (const off_t size : {0, 100, 1 << 20}) {
    const int file = open(path.c_str(), O_CREAT | O_RDWR, 0600);
    ASSERT_EQ(ftruncate(file, size), 0);
    EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument) << size;
    close(file);
    unlink(path.c_str());
  }
}

TEST_F(SegmentsTest, ASecondNameLeadsToTheSameFrames) {
  auto producer = std::make_unique<Producer>(1, 100);
  Handle handle = Parsed(producer->Put("first"));
  handle.segment = "inferpool.second-" + std::to_string(getpid());
  const std::string path = "/dev/shm/" + handle.segment;
  ASSERT_EQ(link(producer->path().c_str(), path.c_str()), 0);
  {
    const auto pin = segments_.Get(handle, Clock::now());
    ASSERT_TRUE(pin.ok()) << pin.status();
    EXPECT_EQ(TextOf(*pin), "first");
    EXPECT_EQ(producer->Put("second"), "") << "it is pinned";
  }
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  Segments later;
  EXPECT_EQ(CodeOf(later, handle), absl::StatusCode::kInvalidArgument) << "by whichever name";
  producer.reset();
  unlink(path.c_str());
}

TEST_F(SegmentsTest, AFileThatWeMayNotOpenIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root becomes another user";
  Producer producer(1, 100);
  const Handle handle = Parsed(producer.Put("first"));
  ChildProcess other([&] {
    if (setgid(65'534) != 0 || setuid(65'534) != 0) return 2;
    Segments own;
    return CodeOf(own, handle) == absl::StatusCode::kInvalidArgument ? 0 : 1;
  });
  EXPECT_TRUE(other.Exited(0));
}

TEST_F(SegmentsTest, AGeometryThatTheFileHasNoRoomForIsRefused) {
  Producer producer(2, 100);
  const Handle handle = Parsed(producer.Put("first"));
  inferpool_frames_header& header = *inferpool_frames_header_of(producer.ring().memory);
  const inferpool_frames_header good = header;
  const auto refuses = [&](auto change) {
    header = good;
    change();
    EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
  };
  refuses([&] { header.slots = 3; });
  refuses([&] { header.slots = 0; });
  refuses([&] { header.slots = 0xffffffff; });
  refuses([&] { header.slot_bytes = 0; });
  refuses([&] { header.slot_bytes = 4'097; });
  refuses([&] { header.slot_bytes = 0xfffffffffffff000; });
  refuses([&] { header.version = 2; });
  refuses([&] { header.magic[0] = 'X'; });
  header = good;
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kOk);
}

TEST_F(SegmentsTest, ASegmentThatShrinksCostsItsFramesAndNotTheProcess) {
  Producer producer(1, 100'000);
  const std::string text = producer.Put(std::string(100'000, 'a'));
  auto pin = Get(text);
  ASSERT_TRUE(pin.ok()) << pin.status();
  Producer healthy(1, 100);
  const auto other = Get(healthy.Put("healthy"));
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_EQ(truncate(producer.path().c_str(), INFERPOOL_FRAMES_DATA_AT + 4'096), 0);
  EXPECT_EQ(TextOf(*pin), std::string(4'096, 'a') + std::string(100'000 - 4'096, '\0'));
  EXPECT_FALSE(pin->IsWhole());
  EXPECT_TRUE(other->IsWhole());
  EXPECT_FALSE(Get(text).ok()) << "it has no longer the size that it says";
  // The rows too.
  ASSERT_EQ(truncate(producer.path().c_str(), 0), 0);
  *pin = Pin();
  EXPECT_EQ(TextOf(*other), "healthy");
  // The producer of the test must not meet what it has done.
  ASSERT_EQ(truncate(producer.path().c_str(), static_cast<off_t>(producer.ring().size)), 0);
}

TEST_F(SegmentsTest, AProducerThatIsAboutToSeeThePinIsAwaited) {
  Producer producer(1, 100);
  const auto pin = Get(producer.Put("first"));
  ASSERT_TRUE(pin.ok()) << pin.status();
  std::uint64_t& generation = inferpool_frames_slots_of(producer.ring().memory)[0].generation;
  __atomic_store_n(&generation, 3, __ATOMIC_SEQ_CST);
  std::thread back([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    __atomic_store_n(&generation, 2, __ATOMIC_SEQ_CST);
  });
  EXPECT_TRUE(pin->IsWhole());
  back.join();
  __atomic_store_n(&generation, 3, __ATOMIC_SEQ_CST);
  EXPECT_FALSE(pin->IsWhole()) << "one that goes on writing";
}

TEST_F(SegmentsTest, AProducerThatBreaksTheRulesIsFoundOut) {
  Producer producer(1, 100);
  const auto pin = Get(producer.Put("first"));
  ASSERT_TRUE(pin.ok()) << pin.status();
  inferpool_frames_slots_of(producer.ring().memory)[0].generation += 2;
  EXPECT_FALSE(pin->IsWhole());
}

TEST_F(SegmentsTest, UnusedSegmentsAreClosed) {
  Producer first(1, 100);
  Producer second(1, 100);
  const TimePoint now = Clock::now();
  EXPECT_TRUE(segments_.Get(Parsed(first.Put("a")), now).ok());
  EXPECT_TRUE(segments_.Get(Parsed(second.Put("a")), now + std::chrono::seconds(50)).ok());
  EXPECT_EQ(segments_.open(), 2U);
  segments_.Tidy(now + std::chrono::seconds(59));
  EXPECT_EQ(segments_.open(), 2U);
  segments_.Tidy(now + std::chrono::seconds(100));
  EXPECT_EQ(segments_.open(), 1U);
  EXPECT_TRUE(std::filesystem::exists(first.path())) << "its producer lives";
}

TEST_F(SegmentsTest, WhatIsPinnedStaysOpen) {
  Producer producer(1, 100);
  const TimePoint now = Clock::now();
  auto pin = segments_.Get(Parsed(producer.Put("a")), now);
  ASSERT_TRUE(pin.ok()) << pin.status();
  segments_.Tidy(now + std::chrono::seconds(100));
  EXPECT_EQ(segments_.open(), 1U);
  *pin = Pin();
  segments_.Tidy(now + std::chrono::seconds(100));
  EXPECT_EQ(segments_.open(), 0U);
}

TEST_F(SegmentsTest, ASegmentWhoseProducerHasClosedItIsLetGoOfASecondAfterItsLastFrame) {
  auto producer = std::make_unique<Producer>(2, 100);
  const Handle handle = Parsed(producer->Put("first"));
  const Handle late = Parsed(producer->Put("second"));
  const TimePoint now = Clock::now();
  ASSERT_TRUE(segments_.Get(handle, now).ok());
  producer.reset();
  segments_.Tidy(now + std::chrono::milliseconds(999));
  ASSERT_TRUE(segments_.Get(late, now + std::chrono::milliseconds(999)).ok());
  segments_.Tidy(now + std::chrono::milliseconds(1'001));
  EXPECT_EQ(segments_.open(), 1U);
  segments_.Tidy(now + std::chrono::seconds(2));
  EXPECT_EQ(segments_.open(), 0U);
  EXPECT_EQ(CodeOf(segments_, late), absl::StatusCode::kNotFound);
}

// A producer that is killed before it can tidy up; the handle of its frame.
std::string KilledProducersFrame() {
  int handles[2];
  EXPECT_EQ(pipe(handles), 0);
  ChildProcess child([&] {
    auto* producer = new Producer(1, 100);  // is not destroyed
    const std::string text = producer->Put("first");
    if (write(handles[1], text.data(), text.size()) < 0) return 1;
    _exit(0);
  });
  EXPECT_TRUE(child.Wait(std::chrono::seconds(10)));
  std::string text(INFERPOOL_FRAMES_TEXT, '\0');
  text.resize(
      static_cast<std::size_t>(std::max<ssize_t>(read(handles[0], text.data(), text.size()), 0)));
  close(handles[0]);
  close(handles[1]);
  return text;
}

// Another test may sweep at any time what a killed producer has left: then it is tried again.
constexpr int kTries = 20;

TEST_F(SegmentsTest, WhatAKilledProducerLeftIsReadAndThenTakenAway) {
  for (int i = 0; i < kTries; ++i) {
    const Handle handle = Parsed(KilledProducersFrame());
    {
      Segments own;
      const auto pin = own.Get(handle, Clock::now());
      if (!pin.ok()) continue;
      EXPECT_EQ(TextOf(*pin), "first");
    }
    EXPECT_FALSE(std::filesystem::exists("/dev/shm/" + handle.segment));
    return;
  }
  FAIL() << "it was gone each time";
}

TEST_F(SegmentsTest, WhatAKilledProducerLeftIsTakenAwayWhenItWasNotUsedForAMinute) {
  for (int i = 0; i < kTries; ++i) {
    const Handle handle = Parsed(KilledProducersFrame());
    const std::string path = "/dev/shm/" + handle.segment;
    const TimePoint now = Clock::now();
    if (!segments_.Get(handle, now).ok()) continue;
    segments_.Tidy(now + std::chrono::seconds(59));
    if (!std::filesystem::exists(path)) continue;
    segments_.Tidy(now + std::chrono::seconds(61));
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_EQ(segments_.open(), 0U);
    return;
  }
  FAIL() << "it was gone each time";
}

TEST_F(SegmentsTest, ANameThatLeadsToAnotherSegmentByNowIsOpenedAgain) {
  auto before = std::make_unique<Producer>(1, 100);
  const std::string name = "inferpool.same-" + std::to_string(getpid());
  const std::string path = "/dev/shm/" + name;
  Handle handle = Parsed(before->Put("before"));
  ASSERT_EQ(rename(before->path().c_str(), path.c_str()), 0);
  handle.segment = name;
  const auto old = segments_.Get(handle, Clock::now());
  ASSERT_TRUE(old.ok()) << old.status();
  before.reset();
  Producer after(1, 100);
  EXPECT_EQ(Parsed(after.Put("after.")).generation, handle.generation);
  ASSERT_EQ(rename(after.path().c_str(), path.c_str()), 0);
  {
    const auto pin = segments_.Get(handle, Clock::now());
    ASSERT_TRUE(pin.ok()) << pin.status();
    EXPECT_EQ(TextOf(*pin), "after.");
    EXPECT_EQ(TextOf(*old), "before");
    EXPECT_TRUE(old->IsWhole());
  }
  // What is there by then is looked at as any other.
  Producer open_to_all(1, 100);
  ASSERT_EQ(rename(open_to_all.path().c_str(), path.c_str()), 0);
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  EXPECT_EQ(CodeOf(segments_, handle), absl::StatusCode::kInvalidArgument);
  unlink(path.c_str());
}

TEST_F(SegmentsTest, ASegmentOfTheSameNameIsNotTakenAwayWithTheOneOfAKilledProducer) {
  Producer next(1, 100);
  for (int i = 0; i < kTries; ++i) {
    const Handle handle = Parsed(KilledProducersFrame());
    const std::string path = "/dev/shm/" + handle.segment;
    const TimePoint now = Clock::now();
    if (!segments_.Get(handle, now).ok()) continue;
    ASSERT_EQ(rename(next.path().c_str(), path.c_str()), 0);
    segments_.Tidy(now + std::chrono::seconds(61));
    EXPECT_EQ(segments_.open(), 0U);
    EXPECT_TRUE(std::filesystem::exists(path));
    unlink(path.c_str());
    return;
  }
  FAIL() << "it was gone each time";
}

TEST_F(SegmentsTest, TheNextProducerTakesAwayWhatAKilledOneLeft) {
  Producer living(1, 100);
  for (int i = 0; i < kTries; ++i) {
    const std::string path = "/dev/shm/" + Parsed(KilledProducersFrame()).segment;
    if (!std::filesystem::exists(path)) continue;
    const Producer next(1, 100);
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_TRUE(std::filesystem::exists(living.path()));
    return;
  }
  FAIL() << "it was gone each time";
}

TEST(ProducerTest, AnEndThatFailsSpoilsNoSlot) {
  Producer producer(1, 100);
  Segments segments;
  void* memory = inferpool_frames_begin(&producer.ring(), 5);
  std::array<char, INFERPOOL_FRAMES_TEXT> text{};
  const inferpool_frame frame = {"jpeg", 0, 0, 0, 5};
  const inferpool_frame large = {"jpeg", 0, 0, 0, 5'000};
  EXPECT_EQ(inferpool_frames_end(&producer.ring(), &frame, text.data(), 9), -1);
  EXPECT_EQ(inferpool_frames_end(&producer.ring(), &large, text.data(), text.size()), -1);
  EXPECT_EQ(inferpool_frames_begin(&producer.ring(), 5), memory);
  EXPECT_EQ(inferpool_frames_end(&producer.ring(), &frame, text.data(), text.size()), 0);
  EXPECT_EQ(CodeOf(segments, Parsed(text.data())), absl::StatusCode::kOk);
  EXPECT_EQ(CodeOf(segments, Parsed(producer.Put("second"))), absl::StatusCode::kOk);
}

TEST(ProducerTest, ImpossibleRings) {
  inferpool_frames ring{};
  EXPECT_EQ(inferpool_frames_open(&ring, 0, 100), -1);
  EXPECT_EQ(inferpool_frames_open(&ring, INFERPOOL_FRAMES_MAX_SLOTS + 1, 100), -1);
  EXPECT_EQ(inferpool_frames_open(&ring, 1, 0), -1);
  EXPECT_EQ(inferpool_frames_open(&ring, 256, std::uint64_t{1} << 32), -1) << "1 TB";
  inferpool_frames_close(&ring);
}

}  // namespace
}  // namespace inferpool::frames
