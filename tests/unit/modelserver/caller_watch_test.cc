#include "modelserver/caller_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <list>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "tests/unit/modelserver/scripted_engine.h"

namespace inferpool::modelserver {
namespace {

using std::chrono::milliseconds;

// A caller who may go, and what was made of it.
struct Guest {
  explicit Guest(CallerWatch& watch, milliseconds question = {})
      : entry(
            std::in_place, watch,
            [this, question] {
              ++asked;
              Work(question);
              return gone.load();
            },
            [this] { ++left; }) {}

  // Takes so much processor time.
  static void Work(milliseconds amount) {
    const auto now = [] {
      timespec time = {};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    };
    const std::chrono::nanoseconds end = now() + amount;
    while (now() < end) {
    }
  }

  std::atomic<bool> gone = false;
  std::atomic<int> asked = 0;
  std::atomic<int> left = 0;
  std::optional<CallerWatch::Entry> entry;
};

TEST(CallerWatch, TellsOnceWhoHasGone) {
  CallerWatch watch;
  Guest stays(watch);
  Guest goes(watch);
  Eventually([&] { return goes.asked > 1; }, "it is asked again and again");
  EXPECT_EQ(goes.left, 0);
  goes.gone = true;
  Eventually([&] { return goes.left > 0; }, "it is told");
  const int asked = stays.asked;
  Eventually([&] { return stays.asked > asked + 2; }, "the other is still asked");
  EXPECT_EQ(goes.left, 1);
  EXPECT_EQ(stays.left, 0);
}

TEST(CallerWatch, TellsWithinATenthOfASecond) {
  CallerWatch watch;
  const Guest stays(watch);
  const TimePoint start = Clock::now();
  constexpr int kTimes = 5;
  for (int i = 0; i < kTimes; ++i) {
    Guest goes(watch);
    goes.gone = true;
    Eventually([&] { return goes.left > 0; }, "it is told");
  }
  EXPECT_LT(Clock::now() - start, kTimes * milliseconds(100));
}

TEST(CallerWatch, NobodyIsAskedAfterTheEnd) {
  CallerWatch watch;
  for (int i = 0; i < 50; ++i) {
    auto guest = std::make_unique<Guest>(watch, milliseconds(1));
    guest->gone = i % 2 == 0;
    if (i % 3 == 0) Eventually([&] { return guest->asked > 0; }, "it is being asked");
    guest.reset();  // ASan and TSan see a question that comes later
  }
}

TEST(CallerWatch, SlowQuestionsTakeAPartOfTheTimeAndReachEveryone) {
  CallerWatch watch;
  std::list<Guest> guests;
  const TimePoint start = Clock::now();
  for (int i = 0; i < 30; ++i) guests.emplace_back(watch, milliseconds(2));
  const auto asked = [&] {
    int sum = 0;
    for (const Guest& guest : guests) sum += guest.asked;
    return sum;
  };
  Eventually(
      [&] {
        return std::ranges::all_of(guests, [](const Guest& guest) { return guest.asked > 0; });
      },
      "all were asked");
  const auto rounds = (Clock::now() - start) / CallerWatch::kPause + 1;
  EXPECT_LE(asked(), 3 * rounds);
  EXPECT_GE(rounds, 10);
}

TEST(CallerWatch, WhereOneHasGoneTheRestAreAskedAtOnce) {
  CallerWatch watch;
  std::list<Guest> guests;
  for (int i = 0; i < 60; ++i) guests.emplace_back(watch, milliseconds(2));
  const TimePoint start = Clock::now();
  for (Guest& guest : guests) guest.gone = true;
  Eventually(
      [&] {
        return std::ranges::all_of(guests, [](const Guest& guest) { return guest.left > 0; });
      },
      "all were told");
  EXPECT_LT(Clock::now() - start, milliseconds(1000));  // three a round would take 1.3 s
}

TEST(CallerWatch, ManyComeAndGo) {
  CallerWatch watch;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 20; ++i) {
        Guest guest(watch);
        guest.gone = true;
        if (thread % 2 == 0) Eventually([&] { return guest.left > 0; }, "it is told");
      }
    });
  }
}

}  // namespace
}  // namespace inferpool::modelserver
