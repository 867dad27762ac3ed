#include "fcgi/pool/step_watch.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// A thread whose time a test spends as the kernel would count it.
struct FakeThread {
  pid_t id = 1;
  ThreadTimes times{};
  nanoseconds pending{};  // a wait that lasts, not yet counted

  void Run(milliseconds time) {
    times.wait += std::exchange(pending, nanoseconds(0));
    times.run += time;
    times.runnable = true;
  }
  void Starve(milliseconds time) {
    pending += time;
    times.runnable = true;
  }
  void Sleep() {
    times.wait += std::exchange(pending, nanoseconds(0));
    times.runnable = false;
  }
  ThreadSample Sample() const { return {id, times}; }
};

class StepWatchTest : public testing::Test {
 protected:
  static constexpr std::int64_t kStep = 7;

  double Look(const std::vector<ThreadSample>& threads, std::int64_t step = kStep,
              bool late = false) {
    return std::chrono::duration<double>(watch_.Look(step, threads, now_, late)).count();
  }
  double Look(bool late = false) { return Look({thread_.Sample()}, kStep, late); }
  void Pass(milliseconds time = seconds(1)) { now_ += time; }

  StepWatch watch_;
  FakeThread thread_;
  TimePoint now_{std::chrono::hours(1)};
};

TEST_F(StepWatchTest, ASpinAddsUp) {
  EXPECT_EQ(Look(), 0) << "it begins with the first look";
  for (int i = 1; i <= 10; ++i) {
    thread_.Run(seconds(1));
    Pass();
    EXPECT_EQ(Look(), i);
  }
}

TEST_F(StepWatchTest, ADeadlockAddsUp) {
  thread_.Sleep();
  EXPECT_EQ(Look(), 0);
  for (int i = 1; i <= 10; ++i) {
    Pass();
    EXPECT_EQ(Look(), i);
  }
}

TEST_F(StepWatchTest, AStarvedThreadDoesNotWorkWhileItWaits) {
  EXPECT_EQ(Look(), 0);
  for (int i = 1; i <= 1'000; ++i) {
    thread_.Starve(milliseconds(999));
    thread_.Run(milliseconds(1));
    Pass();
    EXPECT_NEAR(Look(), i * 0.001, 1e-9);
  }
}

TEST_F(StepWatchTest, AWaitThatTheKernelHasNotCountedYetIsNoWorkEither) {
  EXPECT_EQ(Look(), 0);
  for (int i = 1; i <= 1'000; ++i) {
    thread_.Starve(seconds(1));
    Pass();
    EXPECT_EQ(Look(), 0);
  }
  // Now it runs for a moment and waits in vain for something: that counts from here on.
  thread_.Run(milliseconds(2));
  thread_.Sleep();
  Pass();
  EXPECT_NEAR(Look(), 0.002, 1e-9) << "the wait that had passed is taken off once more";
  for (int i = 1; i <= 10; ++i) {
    Pass();
    EXPECT_NEAR(Look(), 0.002 + i, 1e-9);
  }
}

TEST_F(StepWatchTest, ASpinOnABusyMachineIsFoundByTheTimeThatItRuns) {
  EXPECT_EQ(Look(), 0);
  for (int i = 1; i <= 100; ++i) {
    thread_.Run(milliseconds(100));
    thread_.Starve(milliseconds(900));
    Pass();
    EXPECT_NEAR(Look(), i * 0.1, 1e-9);
  }
}

TEST_F(StepWatchTest, OneThatSleepsAndWaitsHasWorkedForTheSleep) {
  EXPECT_EQ(Look(), 0);
  for (int i = 1; i <= 10; ++i) {
    thread_.Starve(milliseconds(300));
    thread_.Run(milliseconds(100));
    thread_.Sleep();  // for the rest
    Pass();
    EXPECT_NEAR(Look(), i * 0.7, 1e-9);
  }
}

TEST_F(StepWatchTest, TheNextStepBeginsAtNothing) {
  Look();
  Pass();
  EXPECT_EQ(Look(), 1);
  EXPECT_EQ(Look({thread_.Sample()}, kStep + 1), 0);
  Pass();
  EXPECT_EQ(Look({thread_.Sample()}, kStep + 1), 1);
}

// A helper has the processor while another has none, or the thread slot's own thread waits for it.
TEST_F(StepWatchTest, ARequestHasWorkedAsTheOneOfItsThreadsThatWorkedLeast) {
  FakeThread helper{.id = 2};
  thread_.Sleep();
  const auto look = [&] { return Look({thread_.Sample(), helper.Sample()}); };
  EXPECT_EQ(look(), 0);
  for (int i = 0; i < 10; ++i) {
    helper.Starve(seconds(1));
    Pass();
    EXPECT_EQ(look(), 0);
  }
  helper.Sleep();  // for good
  for (int i = 0; i < 10; ++i) Pass(), look();
  EXPECT_EQ(look(), 9) << "it was starved in the first of them";
  EXPECT_EQ(Look(), 20) << "the helper has ended";
}

TEST_F(StepWatchTest, AThreadThatJoinsBeginsAtNothing) {
  Look();
  Pass();
  EXPECT_EQ(Look(), 1);
  EXPECT_EQ(Look({thread_.Sample(), FakeThread{.id = 2}.Sample()}), 0);
}

TEST_F(StepWatchTest, OfALateLookOnlyTheTimeOnAProcessorCounts) {
  thread_.Sleep();
  Look();
  Pass(seconds(60));
  EXPECT_EQ(Look(/*late=*/true), 0) << "frozen with its master";
  thread_.Run(seconds(10));
  Pass(seconds(60));
  EXPECT_EQ(Look(/*late=*/true), 10);
}

TEST_F(StepWatchTest, WithoutTheKernelsCountTheClockDecides) {
  const std::vector<ThreadSample> unknown{{1, std::nullopt}};
  EXPECT_EQ(Look(unknown), 0);
  Pass();
  EXPECT_EQ(Look(unknown), 1);
  Pass(seconds(60));
  EXPECT_EQ(Look(unknown, kStep, /*late=*/true), 1);
}

TEST_F(StepWatchTest, WithoutAThreadThereIsNoWork) {
  Look();
  Pass();
  EXPECT_EQ(Look(std::vector<ThreadSample>{}), 0);
}

}  // namespace
}  // namespace inferpool::fcgi
