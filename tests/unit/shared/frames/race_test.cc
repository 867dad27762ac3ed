// Readers against a producer that overwrites as fast as it can.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "shared/frames/segments.h"
#include "tests/unit/shared/frames/producer.h"

namespace inferpool::frames {
namespace {

using test::Parsed;
using test::Producer;

constexpr std::uint32_t kSlots = 4;
constexpr std::size_t kWords = 512;  // 4 KB

// All words of a frame are its generation.
struct Race {
  Race() : producer(kSlots, kWords * 8) {}

  void Write() {
    std::array<char, INFERPOOL_FRAMES_TEXT> text{};
    const inferpool_frame frame = {"grey", 64, 64, 64, kWords * 8};
    while (!stop) {
      void* memory = inferpool_frames_begin(&producer.ring(), kWords * 8);
      if (memory == nullptr) continue;
      const std::uint32_t slot = producer.ring().next;
      const std::uint64_t generation =
          inferpool_frames_slots_of(producer.ring().memory)[slot].generation + 1;
      for (std::size_t i = 0; i < kWords; ++i) {
        std::memcpy(static_cast<char*>(memory) + 8 * i, &generation, 8);
      }
      ASSERT_EQ(inferpool_frames_end(&producer.ring(), &frame, text.data(), text.size()), 0);
      generations[slot].store(generation);
    }
  }

  Handle HandleOf(std::uint32_t slot) const {
    return {.segment = producer.path().substr(std::strlen("/dev/shm/")),
            .slot = slot,
            .generation = generations[slot],
            .bytes = kWords * 8,
            .format = Format::kGrey,
            .width = 64,
            .height = 64,
            .stride = 64,
            .boot_id = BootId()};
  }

  static bool IsTorn(std::span<const std::byte> bytes, std::uint64_t generation) {
    for (std::size_t i = 0; i < kWords; ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + 8 * i, 8);
      if (word != generation) return true;
    }
    return false;
  }

  Producer producer;
  std::array<std::atomic<std::uint64_t>, kSlots> generations{};
  std::atomic<bool> stop = false;
};

TEST(FramesRaceTest, NoneIsTorn) {
  constexpr int kReads = 100'000;
  Race race;
  std::thread writer([&] { race.Write(); });
  std::atomic<int> torn = 0;
  std::atomic<int> gone = 0;
  const auto read = [&] {
    Segments segments;
    Handle handle = race.HandleOf(0);
    for (int done = 0; done < kReads;) {
      handle.slot = static_cast<std::uint32_t>(done + gone) % kSlots;
      handle.generation = race.generations[handle.slot];
      const auto pin = segments.Get(handle, Clock::now());
      if (!pin.ok()) {
        ASSERT_TRUE(absl::IsNotFound(pin.status())) << pin.status();
        ++gone;
        continue;
      }
      ++done;
      torn += Race::IsTorn(pin->bytes(), handle.generation) ? 1 : 0;
      ASSERT_TRUE(pin->IsWhole());
    }
  };
  std::thread reader(read);
  read();
  reader.join();
  race.stop = true;
  writer.join();
  EXPECT_EQ(torn, 0);
  EXPECT_GT(race.producer.written(), std::uint64_t{kSlots});
  RecordProperty("gone", gone);
}

#ifndef _GLIBCXX_TSAN  // it would say what the test wants to see
TEST(FramesRaceTest, WithoutPinsFramesWouldBeTorn) {
  Race race;
  std::thread writer([&] { race.Write(); });
  const unsigned char* data = race.producer.ring().memory + INFERPOOL_FRAMES_DATA_AT;
  bool torn = false;
  const TimePoint end = Clock::now() + std::chrono::seconds(30);
  while (!torn && Clock::now() < end) {
    // As a whole frame, of whichever generation, it would be the same word all over.
    std::uint64_t last = 0;
    std::memcpy(&last, data + 8 * (kWords - 1), 8);
    torn = Race::IsTorn(std::as_bytes(std::span(data, kWords * 8)), last);
  }
  race.stop = true;
  writer.join();
  EXPECT_TRUE(torn) << "the test above proves nothing";
}
#endif

}  // namespace
}  // namespace inferpool::frames
