#include "worker/backend/rpc/breaker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = Breaker::Outcome;
using Probe = Breaker::ProbeResult;
using State = Breaker::State;

constexpr TimePoint kStart{seconds(1'000)};

class BreakerTest : public testing::Test {
 protected:
  // One call from its leave to its end; true when that opened the breaker.
  bool Call(Outcome outcome, TimePoint now) {
    auto permit = breaker_.Admit(now);
    EXPECT_TRUE(permit.has_value());
    return permit && permit->Record(outcome, now);
  }
  bool Call(Outcome outcome) { return Call(outcome, kStart); }

  // Opens it by failures in a row.
  void Open(TimePoint now = kStart) {
    for (int i = 0; i < 5; ++i) Call(Outcome::kFailed, now);
    ASSERT_EQ(breaker_.state(now), State::kOpen);
  }

  bool Admits(TimePoint now) { return breaker_.Admit(now).has_value(); }

  Breaker breaker_{BreakerPolicy{}};
};

TEST_F(BreakerTest, OpensAtFiveFailuresInARow) {
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(Call(Outcome::kFailed)) << i;
  EXPECT_EQ(breaker_.state(kStart), State::kClosed);
  EXPECT_TRUE(Call(Outcome::kFailed));
  EXPECT_EQ(breaker_.state(kStart), State::kOpen);
  EXPECT_FALSE(Admits(kStart));
}

TEST_F(BreakerTest, AnAnswerEndsARowOfFailures) {
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 4; ++j) EXPECT_FALSE(Call(Outcome::kFailed));
    Call(Outcome::kAnswered);
  }
  EXPECT_EQ(breaker_.state(kStart), State::kClosed);
}

TEST_F(BreakerTest, WhatSaysNothingOfTheServerEndsNoRowAndBeginsNone) {
  for (int i = 0; i < 4; ++i) {
    Call(Outcome::kFailed);
    Call(Outcome::kNothing);
  }
  EXPECT_TRUE(Call(Outcome::kFailed));
}

TEST_F(BreakerTest, NoNumberOfDoubtsOrDeparturesOpensIt) {
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_FALSE(Call(Outcome::kDoubtful));
    EXPECT_FALSE(Call(Outcome::kNothing));
    breaker_.Doubt();
  }
  EXPECT_EQ(breaker_.state(kStart), State::kClosed);
}

TEST_F(BreakerTest, OpensWhenHalfOfManyCallsFail) {
  for (int i = 0; i < 9; ++i) {
    EXPECT_FALSE(Call(Outcome::kAnswered));
    EXPECT_FALSE(Call(Outcome::kFailed)) << i;
  }
  Call(Outcome::kAnswered);
  EXPECT_TRUE(Call(Outcome::kFailed)) << "the twentieth call";
}

TEST_F(BreakerTest, FewerThanHalfMayFailForEver) {
  for (int i = 0; i < 1'000; ++i) {
    const TimePoint now = kStart + i * milliseconds(10);
    EXPECT_FALSE(Call(Outcome::kAnswered, now));
    EXPECT_FALSE(Call(Outcome::kAnswered, now));
    EXPECT_FALSE(Call(Outcome::kFailed, now)) << i;
  }
}

TEST_F(BreakerTest, FailuresOfMoreThanTenSecondsAgoAreForgotten) {
  for (int i = 0; i < 9; ++i) {
    Call(Outcome::kFailed);
    Call(Outcome::kAnswered);
  }
  for (const seconds later : {seconds(10), seconds(1'000)}) {
    EXPECT_FALSE(Call(Outcome::kAnswered, kStart + later));
    EXPECT_FALSE(Call(Outcome::kFailed, kStart + later));
  }
  EXPECT_EQ(breaker_.state(kStart + seconds(1'000)), State::kClosed);
}

TEST_F(BreakerTest, FailuresOfNineSecondsAgoAreNot) {
  for (int i = 0; i < 9; ++i) {
    Call(Outcome::kFailed);
    Call(Outcome::kAnswered);
  }
  Call(Outcome::kAnswered, kStart + seconds(9));
  EXPECT_TRUE(Call(Outcome::kFailed, kStart + seconds(9)));
}

TEST_F(BreakerTest, HalfOpensWithOneCallWhenItsTimeIsOver) {
  Open();
  EXPECT_FALSE(Admits(kStart + seconds(30) - milliseconds(1)));
  const TimePoint later = kStart + seconds(30);
  EXPECT_EQ(breaker_.state(later), State::kHalfOpen);
  const auto trial = breaker_.Admit(later);
  ASSERT_TRUE(trial);
  EXPECT_FALSE(Admits(later)) << "one is enough";
  EXPECT_FALSE(Admits(later + seconds(1'000)));
}

TEST_F(BreakerTest, TheTrialsAnswerClosesIt) {
  Open();
  const TimePoint later = kStart + seconds(30);
  EXPECT_FALSE(Call(Outcome::kAnswered, later));
  EXPECT_EQ(breaker_.state(later), State::kClosed);
  EXPECT_FALSE(breaker_.WantsProbe());
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(Call(Outcome::kFailed, later)) << "counted from anew";
}

TEST_F(BreakerTest, TheTrialsFailureOpensItForItsWholeTime) {
  Open();
  const TimePoint later = kStart + seconds(30);
  EXPECT_TRUE(Call(Outcome::kFailed, later));
  EXPECT_FALSE(Admits(later + seconds(30) - milliseconds(1)));
  EXPECT_TRUE(Admits(later + seconds(30)));
}

TEST_F(BreakerTest, ATrialThatSaysNothingMakesRoomForAnotherOne) {
  Open();
  const TimePoint later = kStart + seconds(30);
  for (const Outcome outcome : {Outcome::kNothing, Outcome::kDoubtful}) {
    EXPECT_FALSE(Call(outcome, later));
    EXPECT_EQ(breaker_.state(later), State::kHalfOpen);
  }
  { const auto lost = breaker_.Admit(later); }
  {
    auto moved = breaker_.Admit(later);
    ASSERT_TRUE(moved);
    const Breaker::CallPermit other = *std::move(moved);
    moved.reset();
    EXPECT_FALSE(Admits(later)) << "the leave has moved, and is not lost";
  }
  EXPECT_FALSE(Call(Outcome::kAnswered, later));
  EXPECT_EQ(breaker_.state(later), State::kClosed);
}

TEST_F(BreakerTest, AReadyProbeHalfOpensItAndTheNextOneCloses) {
  Open();
  EXPECT_TRUE(breaker_.WantsProbe());
  breaker_.Probed(Probe::kReady, kStart);
  EXPECT_EQ(breaker_.state(kStart), State::kHalfOpen);
  EXPECT_TRUE(breaker_.WantsProbe());
  const auto trial = breaker_.Admit(kStart);
  ASSERT_TRUE(trial);
  EXPECT_FALSE(Admits(kStart));
  breaker_.Probed(Probe::kReady, kStart);
  EXPECT_EQ(breaker_.state(kStart), State::kClosed) << "however long the trial takes";
  EXPECT_TRUE(Admits(kStart));
  EXPECT_FALSE(breaker_.WantsProbe());
}

TEST_F(BreakerTest, TheFailuresThatOpenedItAreForgottenWhenProbesCloseIt) {
  Open();
  breaker_.Probed(Probe::kReady, kStart);
  breaker_.Probed(Probe::kReady, kStart);
  ASSERT_EQ(breaker_.state(kStart), State::kClosed);
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(Call(Outcome::kFailed)) << i;
  EXPECT_EQ(breaker_.state(kStart), State::kClosed);
}

TEST_F(BreakerTest, AServerThatAnswersButIsNotReadyStaysOpenUntilItsTimeIsOver) {
  Open();
  EXPECT_FALSE(breaker_.Probed(Probe::kNotReady, kStart));
  EXPECT_EQ(breaker_.state(kStart), State::kOpen);
  EXPECT_TRUE(breaker_.WantsProbe());
  EXPECT_TRUE(Admits(kStart + seconds(30)));
}

TEST_F(BreakerTest, UnansweredProbesDoNotProlongIt) {
  Open();
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart + seconds(29)));
  }
  EXPECT_TRUE(Admits(kStart + seconds(30)));
}

TEST_F(BreakerTest, ADoubtedServerThatAnswersNoProbeIsHung) {
  EXPECT_FALSE(breaker_.WantsProbe());
  breaker_.Doubt();
  EXPECT_TRUE(breaker_.WantsProbe());
  EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart));
  EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart));
  EXPECT_TRUE(breaker_.WantsProbe());
  EXPECT_TRUE(breaker_.Probed(Probe::kUnanswered, kStart));
  EXPECT_EQ(breaker_.state(kStart), State::kOpen);
}

TEST_F(BreakerTest, AnAnswerToAProbeEndsTheDoubt) {
  for (const Probe answer : {Probe::kReady, Probe::kNotReady}) {
    for (int i = 0; i < 10; ++i) {
      Call(Outcome::kDoubtful);
      EXPECT_TRUE(breaker_.WantsProbe());
      EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart));
      EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart));
      EXPECT_FALSE(breaker_.Probed(answer, kStart));
      EXPECT_FALSE(breaker_.WantsProbe());
    }
  }
  EXPECT_EQ(breaker_.state(kStart), State::kClosed);
}

TEST_F(BreakerTest, AHalfOpenOneOpensAgainWhenProbesAreNotAnswered) {
  Open();
  breaker_.Probed(Probe::kReady, kStart);
  EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart));
  EXPECT_FALSE(breaker_.Probed(Probe::kUnanswered, kStart));
  EXPECT_TRUE(breaker_.Probed(Probe::kUnanswered, kStart));
  EXPECT_EQ(breaker_.state(kStart), State::kOpen);
}

TEST_F(BreakerTest, CallsOfAnEarlierStateSayNothingOfThisOne) {
  std::vector<Breaker::CallPermit> before;
  for (int i = 0; i < 20; ++i) before.push_back(*breaker_.Admit(kStart));
  Open();
  EXPECT_FALSE(before[0].Record(Outcome::kAnswered, kStart));
  EXPECT_EQ(breaker_.state(kStart), State::kOpen) << "it had answered before";
  breaker_.Probed(Probe::kReady, kStart);
  const auto trial = breaker_.Admit(kStart);
  EXPECT_FALSE(before[1].Record(Outcome::kNothing, kStart));
  EXPECT_FALSE(Admits(kStart)) << "the trial is still out";
  EXPECT_FALSE(before[2].Record(Outcome::kFailed, kStart));
  EXPECT_EQ(breaker_.state(kStart), State::kHalfOpen);
  breaker_.Probed(Probe::kReady, kStart);
  for (std::size_t i = 3; i < before.size(); ++i) {
    EXPECT_FALSE(before[i].Record(Outcome::kFailed, kStart)) << "that was the server before";
  }
  EXPECT_EQ(breaker_.state(kStart), State::kClosed);
}

TEST_F(BreakerTest, ReadyProbesChangeNothingWhileItIsClosed) {
  for (int i = 0; i < 4; ++i) Call(Outcome::kFailed);
  breaker_.Probed(Probe::kReady, kStart);
  EXPECT_TRUE(Call(Outcome::kFailed)) << "the fifth in a row";
}

TEST_F(BreakerTest, ManyThreadsNeverHaveTwoTrials) {
  Open();
  const TimePoint later = kStart + seconds(30);
  std::atomic<int> out = 0;
  std::atomic<int> most = 0;
  std::atomic<int> trials = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 500; ++j) {
          auto permit = breaker_.Admit(later);
          if (!permit) continue;
          ++trials;
          const int now_out = ++out;
          if (now_out > most) most = now_out;
          --out;
          permit->Record(Outcome::kNothing, later);
        }
      });
    }
  }
  EXPECT_GT(trials, 0);
  EXPECT_EQ(most, 1);
  EXPECT_TRUE(Admits(later));
}

}  // namespace
}  // namespace inferpool::backend
