// backend::Attempts: each rule, with a clock of the test's own and no server.
#include "worker/backend/rpc/attempts.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = Breaker::Outcome;
using State = Breaker::State;

constexpr TimePoint kStart{seconds(1'000)};

absl::Status Away() {
  return absl::UnavailableError("away");
}

class AttemptsTest : public testing::Test {
 protected:
  // A call with a second of time.
  Attempts Begin() { return {context_, Deadline(kStart + seconds(1))}; }

  // The servers, of which there are `count_`.
  std::vector<Candidate> Candidates() {
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < count_; ++i) {
      candidates.push_back({&breakers_[i], may_connect_[i], eligible_[i]});
    }
    return candidates;
  }
  std::optional<Attempt> Next(Attempts& attempts, TimePoint now = kStart) {
    return attempts.Next(Candidates(), now);
  }
  // The server that the next attempt goes to; none when the call is over.
  std::optional<std::size_t> Target(Attempts& attempts, TimePoint now = kStart) {
    const std::optional<Attempt> attempt = Next(attempts, now);
    return attempt ? std::optional(attempt->target) : std::nullopt;
  }
  // Makes the next attempt, which is to the server `target`, and has it end so.
  void Attempted(Attempts& attempts, std::size_t target, const absl::Status& status,
                 Outcome outcome) {
    std::optional<Attempt> attempt = Next(attempts);
    ASSERT_TRUE(attempt.has_value());
    EXPECT_EQ(attempt->target, target);
    attempt->permit.Record(outcome, kStart);
    attempts.Record(status, outcome);
  }

  void Open(std::size_t target) {
    for (int i = 0; i < 5; ++i) breakers_[target].Admit(kStart)->Record(Outcome::kFailed, kStart);
    ASSERT_EQ(breakers_[target].state(kStart), State::kOpen);
  }
  void HalfOpen(std::size_t target) {
    Open(target);
    breakers_[target].Probed(Breaker::ProbeResult::kReady, kStart);
    ASSERT_EQ(breakers_[target].state(kStart), State::kHalfOpen);
  }
  void SpendTheBudget() {
    while (context_.budget.Take()) {
    }
  }

  std::uint64_t Count(ModelCall what) const {
    return counts_.events[static_cast<std::size_t>(what)];
  }

  ModelCallCounts counts_{};
  SharedByCalls context_{&counts_};
  std::size_t count_ = 2;
  std::array<bool, 3> may_connect_ = {true, true, true};
  std::array<bool, 3> eligible_ = {true, true, true};
  std::array<Breaker, 3> breakers_ = {Breaker{BreakerPolicy{}}, Breaker{BreakerPolicy{}},
                                      Breaker{BreakerPolicy{}}};
};

// ---- The first attempt

TEST_F(AttemptsTest, CallsGoToTheServersInTurn) {
  count_ = 3;
  for (const std::size_t wanted : {0U, 1U, 2U, 0U, 1U}) {
    Attempts attempts = Begin();
    EXPECT_EQ(Target(attempts), wanted);
  }
  EXPECT_EQ(Count(ModelCall::kMade), 5U);
}

TEST_F(AttemptsTest, AServerWhoseBreakerIsOpenIsPassedOver) {
  Open(0);
  for (int i = 0; i < 3; ++i) {
    Attempts attempts = Begin();
    EXPECT_EQ(Target(attempts), 1U);
  }
}

TEST_F(AttemptsTest, AServerWithoutAConnectionIsPassedOver) {
  may_connect_[0] = false;
  for (int i = 0; i < 3; ++i) {
    Attempts attempts = Begin();
    EXPECT_EQ(Target(attempts), 1U);
  }
}

TEST_F(AttemptsTest, AServerWithoutAConnectionIsAskedWhenNoOtherOneAdmitsACall) {
  may_connect_[0] = false;
  Open(1);
  Attempts attempts = Begin();
  EXPECT_EQ(Target(attempts), 0U);
}

TEST_F(AttemptsTest, WithoutAServerThatAdmitsItTheCallIsRefused) {
  Open(0);
  Open(1);
  Attempts attempts = Begin();
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_TRUE(absl::IsUnavailable(attempts.status())) << attempts.status();
  EXPECT_EQ(Count(ModelCall::kMade), 1U);
  EXPECT_EQ(Count(ModelCall::kRefused), 1U);
  EXPECT_FALSE(Next(attempts).has_value()) << "and stays so";
  EXPECT_EQ(Count(ModelCall::kRefused), 1U);
}

TEST_F(AttemptsTest, AHalfOpenBreakerAdmitsOneCallAtATime) {
  count_ = 1;
  HalfOpen(0);
  Attempts first = Begin();
  std::optional<Attempt> trial = Next(first);
  ASSERT_TRUE(trial.has_value());
  Attempts second = Begin();
  EXPECT_FALSE(Next(second).has_value());
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  trial.reset();  // as of a request that cannot be encoded
  Attempts third = Begin();
  EXPECT_TRUE(Next(third).has_value()) << "what was never sent says nothing";
}

TEST_F(AttemptsTest, WithoutTimeNoAttemptIsMadeAndNothingIsCounted) {
  Attempts attempts = Begin();
  EXPECT_FALSE(Next(attempts, kStart + seconds(1)).has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(attempts.status())) << attempts.status();
  EXPECT_EQ(Count(ModelCall::kMade), 0U);
  EXPECT_EQ(Count(ModelCall::kRefused), 0U);
  Attempts next = Begin();
  EXPECT_EQ(Target(next, kStart + milliseconds(999)), 0U) << "it took no turn";
}

TEST_F(AttemptsTest, AnAttemptWithoutAnEndEndsTheCall) {
  Attempts attempts = Begin();
  EXPECT_TRUE(Next(attempts).has_value());
  EXPECT_FALSE(Next(attempts).has_value());
}

// ---- What is not repeated

TEST_F(AttemptsTest, AnAnswerEndsTheCall) {
  Attempts attempts = Begin();
  Attempted(attempts, 0, absl::OkStatus(), Outcome::kAnswered);
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_TRUE(attempts.status().ok());
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

TEST_F(AttemptsTest, OnlyUnavailableIsRepeated) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "the reason");
    for (const Outcome outcome :
         {Outcome::kAnswered, Outcome::kFailed, Outcome::kDoubtful, Outcome::kNothing}) {
      Attempts attempts = Begin();
      ASSERT_TRUE(Next(attempts).has_value());
      attempts.Record(status, outcome);
      const bool repeated = absl::IsUnavailable(status) &&
                            (outcome == Outcome::kFailed || outcome == Outcome::kDoubtful);
      EXPECT_EQ(Next(attempts).has_value(), repeated) << status << static_cast<int>(outcome);
      EXPECT_EQ(attempts.status(), status);
    }
  }
}

TEST_F(AttemptsTest, WhatNoTimeIsLeftForIsNotRepeated) {
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  EXPECT_FALSE(Next(attempts, kStart + seconds(1)).has_value());
  EXPECT_EQ(attempts.status(), Away());
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
  EXPECT_FALSE(Next(attempts, kStart).has_value()) << "it is over";
}

TEST_F(AttemptsTest, WhatTheBudgetDoesNotAllowIsNotRepeated) {
  HalfOpen(1);
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  SpendTheBudget();
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_EQ(attempts.status(), Away());
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
  EXPECT_TRUE(breakers_[1].Admit(kStart).has_value()) << "the other one's trial is free";
}

TEST_F(AttemptsTest, TheBudgetIsATenthOfTheCallsAndTen) {
  for (int i = 0; i < 200; ++i) {
    Attempts attempts = Begin();
    ASSERT_TRUE(Next(attempts).has_value());
    attempts.Record(Away(), Outcome::kDoubtful);
    if (Next(attempts).has_value()) attempts.Record(Away(), Outcome::kDoubtful);
    EXPECT_FALSE(Next(attempts).has_value());
  }
  EXPECT_EQ(Count(ModelCall::kMade), 200U);
  EXPECT_EQ(Count(ModelCall::kRetried), 30U);
}

TEST_F(AttemptsTest, ACallIsRepeatedOnce) {
  count_ = 3;
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  Attempted(attempts, 1, absl::UnavailableError("away too"), Outcome::kFailed);
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_EQ(attempts.status(), absl::UnavailableError("away too")) << "the last one's";
  EXPECT_EQ(Count(ModelCall::kMade), 1U);
  EXPECT_EQ(Count(ModelCall::kRetried), 1U);
}

// ---- Where it is repeated

TEST_F(AttemptsTest, AFailedCallIsRepeatedAtTheNextServer) {
  count_ = 3;
  for (const Outcome outcome : {Outcome::kFailed, Outcome::kDoubtful}) {
    context_.turn = 2;
    Attempts attempts = Begin();
    Attempted(attempts, 2, Away(), outcome);
    Attempted(attempts, 0, absl::OkStatus(), Outcome::kAnswered);
    EXPECT_TRUE(attempts.status().ok());
  }
  EXPECT_EQ(Count(ModelCall::kRetried), 2U);
}

TEST_F(AttemptsTest, ARepetitionTakesNoTurn) {
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  Attempted(attempts, 1, absl::OkStatus(), Outcome::kAnswered);
  Attempts next = Begin();
  EXPECT_EQ(Target(next), 1U);
}

TEST_F(AttemptsTest, ARepetitionPrefersAServerWithAConnection) {
  count_ = 3;
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  may_connect_[1] = false;
  EXPECT_EQ(Target(attempts), 2U);
}

TEST_F(AttemptsTest, ARepetitionPrefersAnotherServerEvenWithoutAConnection) {
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  may_connect_[1] = false;
  EXPECT_EQ(Target(attempts), 1U);
}

TEST_F(AttemptsTest, WithoutAnotherServerABrokenConnectionIsTriedAgainOnceItIsThere) {
  Open(1);
  for (const std::size_t count : {1U, 2U}) {
    count_ = count;
    context_.turn = 0;
    Attempts attempts = Begin();
    Attempted(attempts, 0, Away(), Outcome::kFailed);
    EXPECT_EQ(Target(attempts), 0U);
  }
  EXPECT_EQ(Count(ModelCall::kRetried), 2U);
}

TEST_F(AttemptsTest, WithoutAnotherServerABrokenConnectionEndsTheCall) {
  count_ = 1;
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  may_connect_[0] = false;
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_EQ(attempts.status(), Away());
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

TEST_F(AttemptsTest, AServerThatIsBusyIsNotAskedTwice) {
  Open(1);
  for (const std::size_t count : {1U, 2U}) {
    count_ = count;
    Attempts attempts = Begin();
    Attempted(attempts, 0, absl::UnavailableError("busy"), Outcome::kDoubtful);
    EXPECT_FALSE(Next(attempts).has_value());
    EXPECT_EQ(attempts.status(), absl::UnavailableError("busy"));
  }
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

TEST_F(AttemptsTest, WhenItsOwnFailureOpensTheLastBreakerTheCallKeepsItsError) {
  count_ = 1;
  for (int i = 0; i < 4; ++i) breakers_[0].Admit(kStart)->Record(Outcome::kFailed, kStart);
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  ASSERT_EQ(breakers_[0].state(kStart), State::kOpen);
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_EQ(attempts.status(), Away());
  EXPECT_EQ(Count(ModelCall::kRefused), 0U) << "it was made";
}

TEST_F(AttemptsTest, AServerThatIsNotAskedAgainKeepsItsTrial) {
  count_ = 1;
  HalfOpen(0);
  Attempts attempts = Begin();
  {
    const std::optional<Attempt> trial = Next(attempts);
    ASSERT_TRUE(trial.has_value());
    attempts.Record(absl::UnavailableError("busy"), Outcome::kDoubtful);
  }
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_TRUE(breakers_[0].Admit(kStart).has_value());
}

// ---- A call that begins again

TEST_F(AttemptsTest, ACallThatBeginsAgainGoesToTheNextInTurnAndIsCounted) {
  Attempts attempts = Begin();
  Attempted(attempts, 0, absl::NotFoundError("no region"), Outcome::kAnswered);
  attempts.StartAgain();
  Attempted(attempts, 1, absl::NotFoundError("no region"), Outcome::kAnswered);
  attempts.StartAgain();
  Attempted(attempts, 0, absl::OkStatus(), Outcome::kAnswered);
  EXPECT_FALSE(Next(attempts).has_value());
  EXPECT_TRUE(attempts.status().ok());
  EXPECT_EQ(Count(ModelCall::kMade), 3U);
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

TEST_F(AttemptsTest, ACallThatBeginsAgainMayBeRepeatedAgain) {
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kFailed);
  Attempted(attempts, 1, absl::NotFoundError("no region"), Outcome::kAnswered);
  attempts.StartAgain();
  Attempted(attempts, 1, Away(), Outcome::kFailed);
  Attempted(attempts, 0, absl::OkStatus(), Outcome::kAnswered);
  EXPECT_EQ(Count(ModelCall::kRetried), 2U);
}

TEST_F(AttemptsTest, ACallDoesNotBeginAgainWithoutTimeOrAServer) {
  Attempts late = Begin();
  Attempted(late, 0, absl::NotFoundError("no region"), Outcome::kAnswered);
  late.StartAgain();
  EXPECT_FALSE(Next(late, kStart + seconds(1)).has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();

  Attempts refused = Begin();
  Attempted(refused, 1, absl::NotFoundError("no region"), Outcome::kAnswered);
  refused.StartAgain();
  Open(0);
  Open(1);
  EXPECT_FALSE(Next(refused).has_value());
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  EXPECT_EQ(Count(ModelCall::kRefused), 1U);
}

// ---- All of it at once

// Every state that two servers can be in after a failed call, against the rule in one expression.
TEST_F(AttemptsTest, RepeatsAsTheRuleSaysWhateverTheServersStates) {
  for (int state = 0; state < 64; ++state) {
    const auto bit = [state](int place) { return (state >> place & 1) != 0; };
    const bool own_open = bit(0);
    const bool other_open = bit(1);
    const bool broke = bit(2);
    const bool budget = bit(3);
    const bool may_connect = bit(4);
    const bool other_may_connect = bit(5);
    SCOPED_TRACE(state);

    SharedByCalls context;
    std::array<Breaker, 2> breakers = {Breaker{BreakerPolicy{}}, Breaker{BreakerPolicy{}}};
    const std::array<Candidate, 2> before = {{{&breakers[0], true}, {&breakers[1], true}}};
    const std::array<Candidate, 2> after = {
        {{&breakers[0], may_connect}, {&breakers[1], other_may_connect}}};
    Attempts attempts(context, Deadline(kStart + seconds(1)));
    {
      std::optional<Attempt> first = attempts.Next(before, kStart);
      ASSERT_TRUE(first.has_value());
      attempts.Record(Away(), broke ? Outcome::kFailed : Outcome::kDoubtful);
    }
    for (const auto& [breaker, open] :
         {std::pair(&breakers[0], own_open), std::pair(&breakers[1], other_open)}) {
      for (int i = 0; open && i < 5; ++i) breaker->Admit(kStart)->Record(Outcome::kFailed, kStart);
    }
    while (!budget && context.budget.Take()) {
    }

    const std::optional<Attempt> second = attempts.Next(after, kStart);
    if (!budget) {
      EXPECT_FALSE(second.has_value());
    } else if (!other_open) {
      ASSERT_TRUE(second.has_value());
      EXPECT_EQ(second->target, 1U);
    } else if (!own_open && broke && may_connect) {
      ASSERT_TRUE(second.has_value());
      EXPECT_EQ(second->target, 0U);
    } else {
      EXPECT_FALSE(second.has_value());
    }
    EXPECT_EQ(attempts.status(), Away());
  }
}

// ---- Servers that do not have what the call is about

TEST_F(AttemptsTest, OnlyThoseThatHaveItAreUsedEachAsOften) {
  count_ = 3;
  eligible_ = {true, false, true};
  std::array<int, 3> calls{};
  for (int i = 0; i < 30; ++i) {
    Attempts attempts = Begin();
    ++calls[Target(attempts).value()];
  }
  EXPECT_EQ(calls, (std::array<int, 3>{15, 0, 15}));
}

TEST_F(AttemptsTest, WhenTheOnlyOneThatHasItIsOpenTheCallIsRefused) {
  eligible_ = {true, false, false};
  Open(0);
  Attempts attempts = Begin();
  EXPECT_EQ(Target(attempts), std::nullopt);
  EXPECT_TRUE(absl::IsUnavailable(attempts.status()));
  EXPECT_EQ(Count(ModelCall::kRefused), 1U);
}

TEST_F(AttemptsTest, ACallIsNotMadeAgainWhereTheModelIsNot) {
  eligible_ = {true, false, false};
  Attempts attempts = Begin();
  Attempted(attempts, 0, Away(), Outcome::kDoubtful);
  EXPECT_EQ(Target(attempts), std::nullopt);
}

}  // namespace
}  // namespace inferpool::backend
