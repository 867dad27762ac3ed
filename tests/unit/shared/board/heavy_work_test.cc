#include "shared/board/heavy_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "shared/board/heavy_steps.h"
#include "shared/board/scoreboard.h"

namespace inferpool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using State = HeavyClaim::State;
using Entries = std::vector<HeavyEntry>;

constexpr HeavyLimits kLimits{.seats = 12, .processors = 2, .bytes = 1'000};

HeavyEntry Entry(State state, std::uint64_t client, std::uint64_t ticket = 1,
                 std::uint64_t bytes = 10) {
  return {.state = state, .client = client, .ticket = ticket, .bytes = bytes, .body_bytes = 0};
}

// So many entries alike.
Entries Many(std::size_t count, const HeavyEntry& entry) {
  return Entries(count, entry);
}

Entries operator+(Entries left, const Entries& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

int SeatsFor(std::uint64_t client, Entries others) {
  int seats = 0;
  while (HasSeat(others, Entry(State::kWaits, client), kLimits)) {
    others.push_back(Entry(State::kWaits, client));
    ++seats;
  }
  return seats;
}

TEST(HeavyWorkTest, OneClientLeavesAThirdOfTheSeats) {
  EXPECT_EQ(SeatsFor(1, {}), 8);  // 8 <= 2 * (12 - 8)
}

TEST(HeavyWorkTest, EveryFurtherClientGetsASeatWhileThereIsOne) {
  Entries taken = Many(8, Entry(State::kKeeps, 1));
  EXPECT_EQ(SeatsFor(2, taken), 2);  // 2 <= 2 * (12 - 10)
  for (std::uint64_t client = 2; client < 6; ++client) {
    EXPECT_TRUE(HasSeat(taken, Entry(State::kWaits, client), kLimits));
    taken.push_back(Entry(State::kWorks, client));
  }
  EXPECT_FALSE(HasSeat(taken, Entry(State::kWaits, 7), kLimits));
}

TEST(HeavyWorkTest, ASingleSeatIsEverybodys) {
  const HeavyLimits one{.seats = 1, .processors = 1, .bytes = 1};
  EXPECT_TRUE(HasSeat({}, Entry(State::kWaits, 1), one));
  EXPECT_FALSE(HasSeat(Many(1, Entry(State::kWorks, 2)), Entry(State::kWaits, 1), one));
}

HeavyEntry Body(std::uint64_t client, std::uint64_t bytes) {
  return {.body_client = client, .body_bytes = bytes};
}

TEST(HeavyWorkTest, ABodyAloneTakesNoSeat) {
  EXPECT_EQ(SeatsFor(1, Many(12, Body(2, 10))), 8);
}

TEST(HeavyWorkTest, AsManyWorkAsThereAreProcessors) {
  const HeavyEntry own = Entry(State::kWaits, 1);
  EXPECT_TRUE(HasTurn(Many(1, Entry(State::kWorks, 2)), own, kLimits));
  EXPECT_FALSE(HasTurn(Many(2, Entry(State::kWorks, 2)), own, kLimits));
  EXPECT_TRUE(HasTurn(Many(2, Entry(State::kKeeps, 2)), own, kLimits));
}

TEST(HeavyWorkTest, MemoryIsBoundedButOneMayGoAlone) {
  const Entries keeps = Many(1, Entry(State::kKeeps, 2, 1, 600));
  EXPECT_TRUE(HasTurn(keeps, Entry(State::kWaits, 1, 2, 400), kLimits));
  EXPECT_FALSE(HasTurn(keeps, Entry(State::kWaits, 1, 2, 401), kLimits));
  EXPECT_TRUE(HasTurn({}, Entry(State::kWaits, 1, 2, 5'000), kLimits));
  // What waits has nothing yet.
  EXPECT_TRUE(HasTurn(Many(1, Entry(State::kWaits, 2, 9, 5'000)), Entry(State::kWaits, 1, 2, 5'000),
                      kLimits));
}

TEST(HeavyWorkTest, WhoHasLessUnderWayComesFirstAndThenTheFirstCome) {
  const Entries working = Many(1, Entry(State::kWorks, 1));
  const HeavyEntry greedy = Entry(State::kWaits, 1, 2);
  const HeavyEntry newcomer = Entry(State::kWaits, 2, 3);
  const HeavyEntry later = Entry(State::kWaits, 3, 4);
  EXPECT_FALSE(HasTurn(working + Entries{newcomer, later}, greedy, kLimits));
  EXPECT_TRUE(HasTurn(working + Entries{greedy, later}, newcomer, kLimits));
  EXPECT_FALSE(HasTurn(working + Entries{greedy, newcomer}, later, kLimits));
}

TEST(HeavyWorkTest, ALargeOneIsNotOvertakenForEver) {
  const Entries others = {Entry(State::kKeeps, 9, 1, 600), Entry(State::kWaits, 1, 2, 900)};
  EXPECT_FALSE(HasTurn(others, Entry(State::kWaits, 2, 3, 10), kLimits));
}

TEST(HeavyWorkTest, WhoGoesOnComesFirstAndGetsWhatItNeeds) {
  const HeavyEntry waits = Entry(State::kWaits, 1, 1);
  const HeavyEntry resumes = Entry(State::kResumes, 2, 5, 5'000);
  const Entries full = Many(1, Entry(State::kKeeps, 3, 2, 900));
  EXPECT_TRUE(HasTurn(full + Entries{waits}, resumes, kLimits));
  EXPECT_FALSE(HasTurn(full + Entries{resumes}, waits, kLimits));
  EXPECT_FALSE(HasTurn(Many(2, Entry(State::kWorks, 3)), resumes, kLimits));
}

TEST(HeavyWorkTest, BodiesHaveMemoryOfTheirOwn) {
  EXPECT_TRUE(HasBodyRoom(Many(2, Entry(State::kWorks, 2, 1, 900)), Body(1, 900), kLimits));
  EXPECT_TRUE(HasTurn(Entries{Body(2, 900)}, Entry(State::kWaits, 1, 9, 1'000), kLimits));
  EXPECT_TRUE(HasBodyRoom(Entries{Body(2, 400)}, Body(1, 600), kLimits));
  EXPECT_FALSE(HasBodyRoom(Entries{Body(2, 400)}, Body(1, 601), kLimits));
  EXPECT_TRUE(HasBodyRoom({}, Body(1, 5'000), kLimits));
}

TEST(HeavyWorkTest, OneClientsBodiesLeaveAThird) {
  EXPECT_TRUE(HasBodyRoom(Many(5, Body(1, 100)), Body(1, 100), kLimits));   // 600 <= 2 * 400
  EXPECT_FALSE(HasBodyRoom(Many(6, Body(1, 100)), Body(1, 100), kLimits));  // 700 > 2 * 300
  EXPECT_TRUE(HasBodyRoom(Many(6, Body(1, 100)), Body(2, 400), kLimits));
}

TEST(HeavyWorkTest, AClientIsItsAddressOrItsNetwork) {
  EXPECT_EQ(HeavyClient("192.0.2.1"), HeavyClient("192.0.2.1"));
  EXPECT_NE(HeavyClient("192.0.2.1"), HeavyClient("192.0.2.2"));
  EXPECT_EQ(HeavyClient("2001:db8:1:2::1"), HeavyClient("2001:db8:1:2:ffff::9"));
  EXPECT_NE(HeavyClient("2001:db8:1:2::1"), HeavyClient("2001:db8:1:3::1"));
  EXPECT_NE(HeavyClient("::ffff:192.0.2.1"), HeavyClient("::ffff:192.0.2.2"));
  EXPECT_NE(HeavyClientOfKey("192.0.2.1"), HeavyClient("192.0.2.1"));
}

class HeavyStepsTest : public testing::Test {
 protected:
  static constexpr int kThreads = 8;

  HeavyStepsTest() {
    for (int slot = 0; slot < board_.slots(); ++slot) {
      board_.Occupy(slot, 1, kThreads, Clock::now());
    }
    board_.pool().roles[kWorkerRole].wanted = 2;
  }

  ThreadSlot& thread_slot(int slot, std::size_t index) { return board_.thread_slots(slot)[index]; }
  static Patience For(Clock::duration time) { return {.deadline = Deadline::After(time)}; }

  const Scoreboard board_ = *Scoreboard::Create(2, kThreads);
  const HeavyWork work_{board_, {.memory_bytes = 2'000, .processors = 2, .threads = kThreads}};
};

// Many threads as different workers' thread slots: never more at work than allowed, none is
// forgotten.
TEST_F(HeavyStepsTest, TheBoundsHoldAmongManyAndEachHasItsTurn) {
  std::atomic<int> working = 0;
  std::atomic<int> most = 0;
  std::atomic<std::uint64_t> bytes = 0;
  std::atomic<std::uint64_t> most_bytes = 0;
  std::atomic<int> done = 0;
  const auto raise = [](auto& peak, auto value) {
    auto seen = peak.load();
    while (seen < value && !peak.compare_exchange_weak(seen, value)) {
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 6; ++i) {
      for (const int slot : {0, 1}) {
        threads.emplace_back([&, i, slot] {
          const std::uint64_t client = i * 2 + static_cast<std::uint64_t>(slot);
          HeavySteps steps(work_, thread_slot(slot, i), client);
          for (int turn = 0; turn < 50; ++turn) {
            auto step = steps.Begin(400, For(seconds(60)));
            ASSERT_TRUE(step.ok()) << step.status();
            raise(most, ++working);
            raise(most_bytes, bytes += 400);
            std::this_thread::yield();
            --working;
            bytes -= 400;
            ++done;
          }
        });
      }
    }
  }
  EXPECT_EQ(done, 600);
  EXPECT_LE(most, 2);
  EXPECT_LE(most_bytes, 1'000U);
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 0U);
}

TEST_F(HeavyStepsTest, WaitingEndsWithTheDeadlineOrTheClient) {
  HeavySteps first(work_, thread_slot(0, 0), 1);
  auto step = first.Begin(1'000, For(seconds(60)));
  ASSERT_TRUE(step.ok());
  HeavySteps second(work_, thread_slot(1, 0), 2);
  EXPECT_TRUE(absl::IsResourceExhausted(second.Begin(1, For(milliseconds(20))).status()));
  std::stop_source departed;
  departed.request_stop();
  EXPECT_TRUE(absl::IsCancelled(
      second.Begin(1, {.deadline = Deadline::After(seconds(60)), .departed = departed.get_token()})
          .status()));
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_waiting, 0U);
  *step = HeavyStep();
  EXPECT_TRUE(second.Begin(1, For(seconds(60))).ok());
}

TEST_F(HeavyStepsTest, WhatIsKeptLetsOthersWork) {
  HeavySteps first(work_, thread_slot(0, 0), 1);
  HeavySteps second(work_, thread_slot(0, 1), 2);
  HeavySteps third(work_, thread_slot(1, 0), 3);
  auto one = first.Begin(400, For(seconds(60)));
  auto two = second.Begin(400, For(seconds(60)));
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_FALSE(third.Begin(10, For(milliseconds(20))).ok());
  one->Keep(300);
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 700U);
  EXPECT_FALSE(third.Begin(301, For(milliseconds(20))).ok());
  auto three = third.Begin(300, For(seconds(60)));
  ASSERT_TRUE(three.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(one->Resume(5'000, For(milliseconds(20)))));
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 1'000U);
  *three = HeavyStep();
  EXPECT_TRUE(one->Resume(5'000, For(seconds(60))).ok());
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_working, 2U);
  *one = HeavyStep();
  *two = HeavyStep();
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 0U);
}

// Else the next step's claim would take the place of what is kept, which then nobody counted.
TEST_F(HeavyStepsTest, WhatARequestKeepsIsCountedUntilItsNextStep) {
  HeavySteps steps(work_, thread_slot(0, 0), 1);
  auto kept = steps.Begin(500, For(seconds(60)));
  ASSERT_TRUE(kept.ok());
  kept->Keep(400);
  EXPECT_FALSE(steps.Begin(500, For(milliseconds(50))).ok());
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 400U);
  EXPECT_TRUE(kept->Resume(300, For(seconds(60))).ok());
  *kept = HeavyStep();
  EXPECT_TRUE(steps.Begin(500, For(seconds(60))).ok());
}

TEST_F(HeavyStepsTest, NobodyKeepsMoreThanItHad) {
  HeavySteps steps(work_, thread_slot(0, 0), 1);
  auto step = steps.Begin(400, For(seconds(60)));
  ASSERT_TRUE(step.ok());
  step->Keep(5'000);
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 400U);
}

TEST_F(HeavyStepsTest, ThreadsOfOneRequestTakeTurns) {
  HeavySteps steps(work_, thread_slot(0, 0), 1);
  std::atomic<int> inside = 0;
  std::atomic<bool> together = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 20; ++turn) {
        const auto step = steps.Begin(10, For(seconds(60)));
        ASSERT_TRUE(step.ok());
        if (++inside > 1) together = true;
        std::this_thread::yield();
        --inside;
      }
    });
  }
  threads.clear();
  EXPECT_FALSE(together);
}

TEST_F(HeavyStepsTest, WhatADeadWorkerHadIsFree) {
  HeavySteps dead(work_, thread_slot(0, 0), 1);
  auto step = dead.Begin(1'000, For(seconds(60)));
  ASSERT_TRUE(step.ok());
  ASSERT_TRUE(work_.ClaimBody(thread_slot(0, 1), 1, HeavyWork::kSmallBody + 1).ok());
  HeavySteps other(work_, thread_slot(1, 0), 2);
  EXPECT_FALSE(other.Begin(1'000, For(milliseconds(20))).ok());
  board_.Vacate(0);
  EXPECT_TRUE(other.Begin(1'000, For(seconds(60))).ok());
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 0U);
}

TEST_F(HeavyStepsTest, ABodyIsHeldUntilTheRequestsEnd) {
  const std::uint64_t large = HeavyWork::kSmallBody + 1;
  ASSERT_TRUE(work_.ClaimBody(thread_slot(0, 0), 1, HeavyWork::kSmallBody).ok());
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 0U);
  ASSERT_TRUE(work_.ClaimBody(thread_slot(0, 0), 1, large).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(work_.ClaimBody(thread_slot(1, 0), 2, large)));
  work_.Leave(thread_slot(0, 0));
  EXPECT_TRUE(work_.ClaimBody(thread_slot(1, 0), 2, large).ok());
}

// A body is its address's, whatever key its request turns out to have.
TEST_F(HeavyStepsTest, AKeyDoesNotHideABody) {
  const std::uint64_t body = HeavyWork::kSmallBody + 1;
  const HeavyWork work{board_, {.memory_bytes = 20 * body, .processors = 8, .threads = kThreads}};
  std::size_t had = 0;
  for (; had < kThreads && work.ClaimBody(thread_slot(0, had), 1, body).ok(); ++had) {
    HeavySteps steps(work, thread_slot(0, had), 1);
    steps.set_client(HeavyClientOfKey("key"));
    auto step = steps.Begin(1, For(seconds(60)));
    ASSERT_TRUE(step.ok());
    step->Keep(1);
    step = absl::UnknownError("");  // ends it; the body is held
  }
  EXPECT_EQ(had, 6U);  // 6 <= 2 * (10 - 6)
}

// Of two that wait for two processors neither sleeps on until it looks again by itself.
TEST_F(HeavyStepsTest, OneReleaseWakesAllThatFit) {
  constexpr std::chrono::nanoseconds kPrompt = milliseconds(25);
  std::chrono::nanoseconds shortest = seconds(60);
  for (int round = 0; round < 200 && shortest >= kPrompt; ++round) {
    HeavySteps all(work_, thread_slot(0, 0), 1);
    auto step = all.Begin(1'000, For(seconds(60)));
    ASSERT_TRUE(step.ok());
    std::atomic<std::int64_t> released = 0;
    std::atomic<std::int64_t> latest = 0;
    {
      std::vector<std::jthread> threads;
      for (const std::size_t i : {1, 2}) {
        threads.emplace_back([&, i] {
          HeavySteps steps(work_, thread_slot(0, i), i + 1);
          const auto mine = steps.Begin(400, For(seconds(60)));
          ASSERT_TRUE(mine.ok());
          const std::int64_t now = ToNs(Clock::now());
          for (std::int64_t seen = latest;
               seen < now && !latest.compare_exchange_weak(seen, now);) {
          }
          std::this_thread::sleep_for(milliseconds(1));
        });
      }
      while (board_.Sum(Clock::now()).heavy_waiting < 2) std::this_thread::yield();
      released = ToNs(Clock::now());
      *step = HeavyStep();
    }
    shortest = std::min(shortest, std::chrono::nanoseconds(latest - released));
  }
  // Without a wake-up each round would take the 50 ms of a look; a busy machine makes some as slow.
  EXPECT_LT(shortest, kPrompt);
}

TEST_F(HeavyStepsTest, WhatAnAnswerTakesIsCountedUntilTheRequestLeaves) {
  HeavySteps steps(work_, thread_slot(0, 0), 1);
  {
    auto step = steps.Begin(400, For(seconds(60)));
    ASSERT_TRUE(step.ok());
    step->KeepUntilLeave(300);
    EXPECT_TRUE(step->empty());
  }
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 300U);
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_working, 0U);
  work_.Leave(thread_slot(0, 0));
  EXPECT_EQ(board_.Sum(Clock::now()).heavy_bytes, 0U);
}

}  // namespace
}  // namespace inferpool
