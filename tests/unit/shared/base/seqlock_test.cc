#include "shared/base/seqlock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

namespace inferpool {
namespace {

// Larger than a word and no multiple of one.
struct Value {
  std::array<char, 61> bytes{};
  bool operator==(const Value&) const = default;
};

Value Filled(char with) {
  Value value;
  value.bytes.fill(with);
  return value;
}

bool IsWhole(const Value& value) {
  return std::ranges::all_of(value.bytes, [&](char byte) { return byte == value.bytes[0]; });
}

// Memory as a scoreboard has it: zeros, nothing constructed.
template <typename T>
struct Zeroed {
  alignas(64) std::array<unsigned char, sizeof(Seqlock<T>)> memory{};
  Seqlock<T>& lock() { return *reinterpret_cast<Seqlock<T>*>(memory.data()); }
  // Where a writer leaves off when it dies in the middle: the first member is the sequence.
  std::uint32_t& sequence() { return *reinterpret_cast<std::uint32_t*>(memory.data()); }
};

TEST(SeqlockTest, ZeroedMemoryIsAnEmptyValue) {
  Zeroed<Value> zeroed;
  EXPECT_EQ(zeroed.lock().Load(), Value{});
}

TEST(SeqlockTest, WhatIsStoredIsLoadedUntilTheNextIsStored) {
  Zeroed<Value> zeroed;
  for (const char c : {'a', 'b', '\xff', '\0'}) {
    zeroed.lock().Store(Filled(c));
    EXPECT_EQ(zeroed.lock().Load(), Filled(c));
    EXPECT_EQ(zeroed.lock().Load(), Filled(c)) << "loading takes nothing away";
  }
}

TEST(SeqlockTest, AValueOfOneByteFits) {
  Zeroed<char> zeroed;
  zeroed.lock().Store('x');
  EXPECT_EQ(zeroed.lock().Load(), 'x');
}

TEST(SeqlockTest, AWriteThatADeadWriterLeftHalfDoneIsNoneUntilItIsOverwritten) {
  Zeroed<Value> zeroed;
  zeroed.lock().Store(Filled('a'));
  ++zeroed.sequence();
  EXPECT_EQ(zeroed.lock().Load(), std::nullopt);
  zeroed.lock().Store(Filled('b'));
  EXPECT_EQ(zeroed.lock().Load(), Filled('b'));
  zeroed.lock().Store(Filled('c'));
  EXPECT_EQ(zeroed.lock().Load(), Filled('c'));
}

TEST(SeqlockTest, ReadersSeeWholeValuesWhileOneWrites) {
  Zeroed<Value> zeroed;
  Seqlock<Value>& lock = zeroed.lock();
  std::atomic<bool> stop = false;
  std::atomic<long> whole = 0;
  std::atomic<long> torn = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const auto value = lock.Load();
        if (value) ++(IsWhole(*value) ? whole : torn);
      }
    });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  const auto latest = end + std::chrono::seconds(5);
  for (char c = 0; std::chrono::steady_clock::now() < (whole > 1'000 ? end : latest); ++c) {
    lock.Store(Filled(c));
    if (c == 0) std::this_thread::yield();
  }
  stop = true;
  readers.clear();
  EXPECT_EQ(torn, 0);
  EXPECT_GT(whole, 1'000);
}

}  // namespace
}  // namespace inferpool
