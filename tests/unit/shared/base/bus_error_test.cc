#include "shared/base/bus_error.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <deque>

#include "shared/base/file_descriptor.h"

namespace inferpool {
namespace {

// Two pages of a file that can be shortened.
class Pages {
 public:
  Pages() : file_(memfd_create("bus_error_test", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(file_.get(), static_cast<off_t>(2 * kPage)), 0);
    memory_ = static_cast<char*>(
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
    memory_[0] = 'a';
    memory_[kPage] = 'b';
  }
  ~Pages() { munmap(memory_, 2 * kPage); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  // A volatile read: the compiler does not know that the file changes.
  char First() const { return static_cast<volatile char*>(memory_)[0]; }
  char Second() const { return static_cast<volatile char*>(memory_)[kPage]; }
  void Shorten() { EXPECT_EQ(ftruncate(file_.get(), static_cast<off_t>(kPage)), 0); }
  char* memory() { return memory_; }

  const std::size_t kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

 private:
  FileDescriptor file_;
  char* memory_ = nullptr;
};

TEST(BusErrors, WhatIsGoneReadsAsZeros) {
  Pages pages;
  const BusErrorGuard guard(pages.memory(), 2 * pages.kPage);
  ASSERT_TRUE(guard.active());
  EXPECT_EQ(pages.Second(), 'b');
  EXPECT_FALSE(guard.broken());
  pages.Shorten();
  EXPECT_EQ(pages.Second(), '\0');
  EXPECT_TRUE(guard.broken());
  EXPECT_EQ(pages.First(), 'a');
}

TEST(BusErrors, WritesToWhatIsGoneAreLost) {
  Pages pages;
  const BusErrorGuard guard(pages.memory(), 2 * pages.kPage);
  pages.Shorten();
  static_cast<volatile char*>(pages.memory())[pages.kPage] = 'c';
  EXPECT_TRUE(guard.broken());
}

TEST(BusErrors, OnlyTheRangeThatBreaksIsBroken) {
  Pages pages;
  Pages others;
  const BusErrorGuard other(others.memory(), 2 * others.kPage);
  const BusErrorGuard guard(pages.memory(), 2 * pages.kPage);
  pages.Shorten();
  static_cast<void>(pages.Second());
  EXPECT_TRUE(guard.broken());
  EXPECT_FALSE(other.broken());
}

TEST(BusErrors, PastTheMostAGuardSaysThatItIsNone) {
  std::array<char, 1> memory{};
  std::deque<BusErrorGuard> guards;
  while (guards.size() < kMaxGuards) {
    guards.emplace_back(memory.data(), memory.size());
    ASSERT_TRUE(guards.back().active()) << guards.size();
  }
  EXPECT_FALSE(BusErrorGuard(memory.data(), memory.size()).active());
  guards.pop_front();
  EXPECT_TRUE(BusErrorGuard(memory.data(), memory.size()).active());
}

TEST(BusErrorsDeathTest, UnguardedMemoryEndsTheProcess) {
  Pages pages;
  { const BusErrorGuard guard(pages.memory(), 2 * pages.kPage); }
  pages.Shorten();
  EXPECT_EXIT(static_cast<void>(pages.Second()), testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace inferpool
