#include "modelserver/execution/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "tests/unit/modelserver/execution/scripted_engine.h"
#include "tests/unit/shared/base/processor_time.h"

namespace inferpool::modelserver {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Batches = std::vector<std::vector<std::int32_t>>;

// Looks once, after a moment in which a wrong answer would have come.
bool StillWaits(const std::future<Answer>& call) {
  return call.wait_for(milliseconds(20)) == std::future_status::timeout;
}

TEST(Scheduler, ALoneRequestRunsAtOnceOnItsOwnThread) {
  Scripted model(ScriptedConfig(0));
  const Answer answer = model.Call(21);
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  EXPECT_EQ(answer.value, 42);
  ASSERT_EQ(model.script.runs().size(), 1U);
  EXPECT_EQ(model.script.runs().front().thread, std::this_thread::get_id());
  EXPECT_GE(answer.times.queue, Clock::duration::zero());
  EXPECT_GT(answer.times.compute_infer, Clock::duration::zero());
}

TEST(Scheduler, ServesInTheOrderOfArrival) {
  Scripted model(ScriptedConfig(4));
  std::vector<std::future<Answer>> calls;
  calls.push_back(model.Occupy(0));
  for (const std::int32_t value : {1, 2, 3, 4}) calls.push_back(model.Queue(value));
  model.script.Open();
  for (std::future<Answer>& call : calls) EXPECT_TRUE(call.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{0}, {1}, {2}, {3}, {4}}));
}

TEST(Scheduler, TheTimeBehindOthersIsQueueTime) {
  Scripted model(BatchingConfig(4));
  std::future<Answer> first = model.Occupy(0);
  std::future<Answer> second = model.Queue(1);
  std::future<Answer> third = model.Queue(2);
  const TimePoint waits = Clock::now();
  std::this_thread::sleep_for(milliseconds(20));
  const TimePoint opens = Clock::now();
  model.script.Open();
  EXPECT_TRUE(first.get().status.ok());
  for (auto* call : {&second, &third}) {
    const Answer answer = call->get();
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    EXPECT_GE(answer.times.queue, opens - waits);
  }
}

TEST(Scheduler, ABatchFormsWhileTheInstanceIsBusy) {
  Scripted model(BatchingConfig(4));
  std::vector<std::future<Answer>> calls;
  calls.push_back(model.Occupy(0));
  for (const std::int32_t value : {1, 2, 3, 4, 5}) calls.push_back(model.Queue(value));
  EXPECT_EQ(model.pending(), 5U);
  model.script.Open();
  std::set<std::thread::id> threads;
  for (std::int32_t value = 0; value < 6; ++value) {
    const Answer answer = calls[static_cast<std::size_t>(value)].get();
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    EXPECT_EQ(answer.value, 2 * value);
    threads.insert(answer.thread);
  }
  EXPECT_EQ(model.script.values(), Batches({{0}, {1, 2, 3, 4}, {5}}));
  for (const Script::Run& run : model.script.runs()) {
    EXPECT_TRUE(threads.contains(run.thread))
        << "a batch runs on the thread of one of its requests";
  }
  EXPECT_EQ(model.pending(), 0U);
  EXPECT_EQ(model.statistics.Get().executions, 3U);
  EXPECT_EQ(model.statistics.Get().batches.at(4).compute_infer.count, 1U);
}

TEST(Scheduler, ABatchGathersOnAnIdleInstanceUntilThePreferredSize) {
  inference::ModelConfig config = BatchingConfig(8);
  config.mutable_dynamic_batching()->add_preferred_batch_size(3);
  config.mutable_dynamic_batching()->set_max_queue_delay_microseconds(3'600'000'000);
  Scripted model(config);
  std::future<Answer> first = model.Queue(1);
  std::future<Answer> second = model.Queue(2);
  EXPECT_TRUE(model.Call(3).status.ok());
  EXPECT_TRUE(first.get().status.ok());
  EXPECT_TRUE(second.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{1, 2, 3}}));
}

TEST(Scheduler, RowsCountForTheBatchsSize) {
  Scripted model(BatchingConfig(8));
  std::future<Answer> first = model.Occupy(0);
  std::future<Answer> five = model.Queue(1, {.rows = 5});
  std::future<Answer> three = model.Queue(2, {.rows = 3});
  std::future<Answer> one = model.Queue(3);
  model.script.Open();
  for (auto* call : {&first, &five, &three, &one}) EXPECT_TRUE(call->get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{0}, {1, 2}, {3}}));
  EXPECT_EQ(model.statistics.Get().batches.at(8).compute_infer.count, 1U);
}

TEST(Scheduler, OnlyEqualShapesShareABatch) {
  inference::ModelConfig config = ScriptedConfig(8, -1);
  config.mutable_dynamic_batching();
  Scripted model(config);
  std::vector<std::future<Answer>> calls;
  calls.push_back(model.Occupy(0));
  for (const std::int64_t width : {2, 2, 3, 2}) {
    calls.push_back(model.Queue(static_cast<std::int32_t>(calls.size()), {.width = width}));
  }
  model.script.Open();
  for (std::future<Answer>& call : calls) EXPECT_TRUE(call.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{0}, {1, 2}, {3}, {4}}));
}

TEST(Scheduler, AFailingRequestOfABatchFailsAlone) {
  Scripted model(BatchingConfig(4));
  std::future<Answer> first = model.Occupy(0);
  std::future<Answer> good = model.Queue(1);
  std::future<Answer> bad = model.Queue(-1);
  std::future<Answer> other = model.Queue(2);
  model.script.Open();
  EXPECT_TRUE(first.get().status.ok());
  EXPECT_EQ(good.get().value, 2);
  EXPECT_EQ(bad.get().status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(other.get().value, 4);
  EXPECT_EQ(model.script.values(), Batches({{0}, {1, -1, 2}}));
}

TEST(Scheduler, InstancesRunSideBySide) {
  Scripted model(ScriptedConfig(0), 2);
  std::future<Answer> first = model.Occupy(1);
  std::future<Answer> second = model.Occupy(2);
  std::future<Answer> third = model.Queue(3);
  EXPECT_NE(model.script.runs()[0].engine, model.script.runs()[1].engine);
  model.script.LetGo({2});
  EXPECT_TRUE(second.get().status.ok());  // though the first has not ended
  model.script.WaitRuns(3);
  EXPECT_EQ(model.script.runs()[2].engine, model.script.runs()[1].engine);
  model.script.Open();
  EXPECT_TRUE(first.get().status.ok());
  EXPECT_TRUE(third.get().status.ok());
}

// ---------------------------------------------------------------- order

TEST(Scheduler, AHigherPriorityOvertakes) {
  inference::ModelConfig config = BatchingConfig(1);
  config.mutable_dynamic_batching()->set_priority_levels(2);
  config.mutable_dynamic_batching()->set_default_priority_level(2);
  Scripted model(config);
  std::future<Answer> first = model.Occupy(0);
  std::future<Answer> low = model.Queue(1);
  std::future<Answer> high = model.Queue(2, {.priority = 1});
  model.script.Open();
  for (auto* call : {&first, &low, &high}) EXPECT_TRUE(call->get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{0}, {2}, {1}}));
}

TEST(Scheduler, AnswersLeaveAsTheyAreReady) {
  Scripted model(BatchingConfig(1), 2);
  std::future<Answer> first = model.Occupy(1);
  std::future<Answer> second = model.Occupy(2);
  model.script.LetGo({2});
  EXPECT_TRUE(second.get().status.ok());
  model.script.Open();
  EXPECT_TRUE(first.get().status.ok());
}

TEST(Scheduler, WithPreserveOrderingAnAnswerWaitsForThoseBeforeIt) {
  inference::ModelConfig config = BatchingConfig(1);
  config.mutable_dynamic_batching()->set_preserve_ordering(true);
  Scripted model(config, 2);
  std::future<Answer> first = model.Occupy(1);
  std::future<Answer> second = model.Occupy(2);
  model.script.LetGo({2});
  std::future<Answer> third = model.Occupy(3);  // its instance is free again
  model.script.LetGo({3});
  EXPECT_TRUE(StillWaits(second));
  EXPECT_TRUE(StillWaits(third));
  model.script.LetGo({1});
  EXPECT_EQ(first.get().value, 2);
  EXPECT_EQ(second.get().value, 4);
  EXPECT_EQ(third.get().value, 6);
}

// ---------------------------------------------------------------- those who do not get to run

inference::ModelConfig ExpiringConfig(std::uint64_t timeout_us) {
  inference::ModelConfig config = BatchingConfig(1);
  inference::ModelQueuePolicy& policy =
      *config.mutable_dynamic_batching()->mutable_default_queue_policy();
  policy.set_default_timeout_microseconds(timeout_us);
  policy.set_allow_timeout_override(true);
  return config;
}

TEST(Scheduler, WhatExpiresFailsWhileTheInstanceIsStillBusy) {
  Scripted model(ExpiringConfig(50'000'000));
  std::future<Answer> running = model.Occupy(1, {.timeout = milliseconds(1)});
  std::future<Answer> patient = model.Queue(2);
  std::future<Answer> hasty = model.Start(3, {.timeout = milliseconds(5)});
  EXPECT_TRUE(absl::IsUnavailable(hasty.get().status));
  EXPECT_TRUE(StillWaits(patient));
  EXPECT_EQ(model.pending(), 1U);
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());  // one that runs does not expire
  EXPECT_TRUE(patient.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{1}, {2}}));
}

// Each alone could be late on a busy machine; all of them, by tens of milliseconds, cannot.
template <typename Step>
void ExpectPunctual(Step step) {
  constexpr int kSteps = 100;
  const TimePoint start = Clock::now();
  for (int i = 0; i < kSteps; ++i) step();
  EXPECT_LT(Clock::now() - start, kSteps * milliseconds(25));
}

TEST(Scheduler, ExpiryIsPunctual) {
  Scripted model(ExpiringConfig(200));
  std::future<Answer> running = model.Occupy(1);
  ExpectPunctual([&] { EXPECT_TRUE(absl::IsUnavailable(model.Call(2).status)); });
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());
}

TEST(Scheduler, TheQueueDelayIsPunctualHoweverShort) {
  for (const std::uint64_t delay_us : {1U, 20U, 200U}) {
    inference::ModelConfig config = BatchingConfig(8);
    config.mutable_dynamic_batching()->set_max_queue_delay_microseconds(delay_us);
    Scripted model(config);
    ExpectPunctual([&] { EXPECT_TRUE(model.Call(1).status.ok()); });
  }
}

TEST(Scheduler, DelayServesWhatHasExpiredAfterTheRest) {
  inference::ModelConfig config = ExpiringConfig(0);
  config.mutable_dynamic_batching()->mutable_default_queue_policy()->set_timeout_action(
      inference::ModelQueuePolicy::DELAY);
  Scripted model(config);
  std::future<Answer> first = model.Occupy(0);
  std::future<Answer> expired = model.Queue(1, {.timeout = microseconds(1)});
  EXPECT_TRUE(StillWaits(expired));
  std::future<Answer> patient = model.Queue(2);
  model.script.Open();
  for (auto* call : {&first, &expired, &patient}) EXPECT_TRUE(call->get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{0}, {2}, {1}}));
}

TEST(Scheduler, AFullQueueRefusesAtOnce) {
  inference::ModelConfig config = BatchingConfig(1);
  config.mutable_dynamic_batching()->mutable_default_queue_policy()->set_max_queue_size(1);
  Scripted model(config);
  std::future<Answer> running = model.Occupy(1);
  std::future<Answer> waiting = model.Queue(2);
  EXPECT_TRUE(absl::IsUnavailable(model.Call(3).status));
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());
  EXPECT_TRUE(waiting.get().status.ok());
  EXPECT_TRUE(model.Call(4).status.ok());
}

TEST(Scheduler, ABusyModelLeavesPlacesToTheOthers) {
  const auto limiter = std::make_shared<AdmissionLimiter>(InFlight{.requests = 6, .bytes = 1000});
  Scripted busy(ScriptedConfig(0), 1, limiter);
  Scripted other(ScriptedConfig(0), 1, limiter);
  std::vector<std::future<Answer>> calls;
  calls.push_back(busy.Occupy(1));
  calls.push_back(busy.Queue(2));
  calls.push_back(busy.Queue(3));
  EXPECT_TRUE(absl::IsUnavailable(busy.Call(4).status));
  calls.push_back(other.Occupy(5));
  EXPECT_TRUE(absl::IsUnavailable(other.Call(6, {.bytes = 501}).status));
  busy.script.Open();
  other.script.Open();
  for (std::future<Answer>& call : calls) EXPECT_TRUE(call.get().status.ok());
  EXPECT_TRUE(busy.Call(7).status.ok());
}

TEST(Scheduler, AnIdleInstanceIsUsedWhateverOthersHave) {
  const auto limiter = std::make_shared<AdmissionLimiter>(InFlight{.requests = 1, .bytes = 0});
  Scripted busy(ScriptedConfig(0), 1, limiter);
  Scripted idle(ScriptedConfig(0), 2, limiter);
  std::future<Answer> running = busy.Occupy(1);
  EXPECT_TRUE(absl::IsUnavailable(busy.Call(2).status));
  std::future<Answer> first = idle.Occupy(3, {.bytes = 100});
  std::future<Answer> second = idle.Occupy(4, {.bytes = 100});
  EXPECT_TRUE(absl::IsUnavailable(idle.Call(5).status));
  busy.script.Open();
  idle.script.Open();
  for (auto* call : {&running, &first, &second}) EXPECT_TRUE(call->get().status.ok());
}

TEST(Scheduler, ACallerWaitsNoLongerThanItsDeadline) {
  Scripted model(ScriptedConfig(0));
  std::future<Answer> running = model.Occupy(1);
  const Answer late = model.Call(2, {.deadline = Deadline::After(milliseconds(30))});
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.status)) << late.status;
  EXPECT_EQ(model.pending(), 0U);
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{1}}));
}

TEST(Scheduler, AnExpiredCallerGetsNothingThoughAnInstanceIsIdle) {
  Scripted model(ScriptedConfig(0));
  EXPECT_TRUE(absl::IsDeadlineExceeded(model.Call(1, {.deadline = Deadline(Clock::now())}).status));
  EXPECT_TRUE(model.script.runs().empty());
}

TEST(Scheduler, ARequestThatRunsIsAnsweredThoughItsDeadlinePasses) {
  Scripted model(ScriptedConfig(0));
  std::stop_source caller;
  std::future<Answer> running =
      model.Occupy(1, {.deadline = Deadline::After(milliseconds(200)), .gone = caller.get_token()});
  caller.request_stop();
  std::this_thread::sleep_for(milliseconds(250));
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());
}

TEST(Scheduler, ACallerThatLeavesIsForgotten) {
  Scripted model(ScriptedConfig(0));
  std::future<Answer> running = model.Occupy(1);
  std::stop_source caller;
  std::future<Answer> waiting = model.Queue(2, {.gone = caller.get_token()});
  caller.request_stop();
  EXPECT_TRUE(absl::IsCancelled(waiting.get().status));
  EXPECT_EQ(model.pending(), 0U);
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());
  EXPECT_TRUE(model.Call(3).status.ok());  // the instance did not go to the one who left
  EXPECT_EQ(model.script.values(), Batches({{1}, {3}}));
}

TEST(Scheduler, ABatchIsAbandonedWhenAllItsCallersHaveLeft) {
  Scripted model(BatchingConfig(2));
  std::future<Answer> first = model.Occupy(0);
  std::vector<std::stop_source> callers(2);
  std::vector<std::future<Answer>> calls;
  for (std::int32_t i = 0; i < 2; ++i) {
    calls.push_back(model.Queue(i + 1, {.gone = callers[static_cast<std::size_t>(i)].get_token()}));
  }
  model.script.LetGo({0});
  model.script.WaitRuns(2);
  const std::stop_token abandoned = model.script.runs()[1].abandoned;
  callers[1].request_stop();
  EXPECT_FALSE(abandoned.stop_requested());
  callers[0].request_stop();
  EXPECT_TRUE(abandoned.stop_requested());
  EXPECT_FALSE(model.script.runs()[0].abandoned.stop_requested());
  model.script.Open();
  for (std::future<Answer>& call : calls) EXPECT_TRUE(call.get().status.ok());
  EXPECT_TRUE(first.get().status.ok());
}

TEST(Scheduler, ACallerThatHasLeftBeforeIsNotServed) {
  Scripted model(ScriptedConfig(0));
  std::stop_source caller;
  caller.request_stop();
  EXPECT_TRUE(absl::IsCancelled(model.Call(1, {.gone = caller.get_token()}).status));
  EXPECT_TRUE(model.script.runs().empty());
  EXPECT_TRUE(model.Call(2).status.ok());
}

TEST(Scheduler, AsksBeforeARequestWaitsOrRunsForLong) {
  Scripted model(ScriptedConfig(0));
  int asked = 0;
  EXPECT_TRUE(model.Call(1, {.can_block = [&] { return ++asked > 0; }}).status.ok());
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(model.Call(2, {.can_block = [] { return false; }}).status));
  EXPECT_EQ(model.script.values(), Batches({{1}}));
}

TEST(Scheduler, DoesNotAskBeforeAnInstantRun) {
  Scripted model(ScriptedConfig(0));
  model.script.instant = true;
  EXPECT_TRUE(model.Call(1, {.can_block = [] { return false; }}).status.ok());
  // But for many bytes, and where it has to wait.
  const std::int64_t many = kSmallRequest / sizeof(std::int32_t) + 1;
  EXPECT_TRUE(absl::IsResourceExhausted(
      model.Call(2, {.width = many, .can_block = [] { return false; }}).status));
  std::future<Answer> running = model.Occupy(3);
  EXPECT_TRUE(absl::IsResourceExhausted(model.Call(4, {.can_block = [] { return false; }}).status));
  EXPECT_EQ(model.pending(), 0U);
  model.script.Open();
  EXPECT_TRUE(running.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{1}, {3}}));
}

TEST(Scheduler, OneOfManyWhoWaitMayLeave) {
  Scripted model(ScriptedConfig(0));
  std::vector<std::future<Answer>> calls;
  calls.push_back(model.Occupy(0));
  std::vector<std::stop_source> callers(400);
  for (std::size_t i = 1; i < callers.size(); ++i) {
    calls.push_back(model.Start(static_cast<std::int32_t>(i), {.gone = callers[i].get_token()}));
  }
  Eventually([&] { return model.pending() == callers.size() - 1; }, "all wait");
  callers[17].request_stop();
  EXPECT_TRUE(absl::IsCancelled(calls[17].get().status));
  EXPECT_EQ(model.pending(), callers.size() - 2);
  model.script.Open();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (i != 17) {
      EXPECT_TRUE(calls[i].get().status.ok());
    }
  }
}

TEST(Scheduler, ThoseWhoWaitForLongDoNothing) {
  Scripted model(ScriptedConfig(0));
  std::vector<std::future<Answer>> calls;
  calls.push_back(model.Occupy(0));
  std::stop_source caller;
  for (std::int32_t value = 1; value < 100; ++value) {
    calls.push_back(model.Start(value, {.gone = caller.get_token()}));
  }
  Eventually([&] { return model.pending() == 99; }, "all wait");
  const auto before = test::ProcessorTime();
  std::this_thread::sleep_for(milliseconds(500));
  // One thread that polls takes all of it, a hundred that look each millisecond take as much.
  EXPECT_LT(test::ProcessorTime() - before, milliseconds(50));
  model.script.Open();
  for (std::future<Answer>& call : calls) EXPECT_TRUE(call.get().status.ok());
}

TEST(Scheduler, WhoLeavesMayMakeWayForABatch) {
  inference::ModelConfig config = BatchingConfig(8);
  config.mutable_dynamic_batching()->add_preferred_batch_size(4);
  config.mutable_dynamic_batching()->add_preferred_batch_size(8);
  config.mutable_dynamic_batching()->set_max_queue_delay_microseconds(3'600'000'000);
  Scripted model(config);
  std::stop_source caller;
  std::future<Answer> three = model.Queue(3, {.rows = 3, .gone = caller.get_token()});
  std::future<Answer> four = model.Queue(4, {.rows = 4});
  caller.request_stop();
  EXPECT_TRUE(absl::IsCancelled(three.get().status));
  EXPECT_TRUE(four.get().status.ok());
  EXPECT_EQ(model.script.values(), Batches({{4}}));
}

}  // namespace
}  // namespace inferpool::modelserver
