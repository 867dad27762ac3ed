// Many callers at once; to be run under ThreadSanitizer as well.

#include <gtest/gtest.h>

#include <array>
#include <atomic>

#include "tests/unit/modelserver/execution/scripted_engine.h"

namespace inferpool::modelserver {
namespace {

using std::chrono::microseconds;

struct Counts {
  std::atomic<int> ok = 0, at_fault = 0, expired = 0, late = 0, gone = 0;
};

// Some calls of each kind; every answer must be the caller's own.
void Callers(Scripted& model, bool hurried, Counts& counts) {
  constexpr int kThreads = 12;
  constexpr int kCalls = 300;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int call = 0; call < kCalls; ++call) {
        const int number = thread * kCalls + call + 1;
        const std::int32_t value = call % 10 == 3 ? -number : number;
        Ask ask = {.rows = number % 3 + 1, .priority = static_cast<std::uint64_t>(number % 3)};
        if (hurried && call % 4 == 0) ask.timeout = microseconds(call % 7 * 30 + 1);
        if (hurried && call % 5 == 0) ask.deadline = Deadline::After(microseconds(call % 9 * 40));
        std::stop_source caller;
        std::jthread leaver;
        if (hurried && call % 6 == 0) {
          ask.gone = caller.get_token();
          leaver = std::jthread([&caller, call] {
            std::this_thread::sleep_for(microseconds(call % 11 * 20));
            caller.request_stop();
          });
        }
        const Answer answer = model.Call(value, ask);
        switch (answer.status.code()) {
          case absl::StatusCode::kOk:
            EXPECT_EQ(answer.value, 2 * number);
            EXPECT_GT(value, 0);
            ++counts.ok;
            break;
          case absl::StatusCode::kInvalidArgument:
            EXPECT_LT(value, 0);
            ++counts.at_fault;
            break;
          case absl::StatusCode::kUnavailable:
            EXPECT_GT(ask.timeout.count(), 0);
            ++counts.expired;
            break;
          case absl::StatusCode::kDeadlineExceeded:
            EXPECT_EQ(call % 5, 0);
            ++counts.late;
            break;
          case absl::StatusCode::kCancelled:
            EXPECT_EQ(call % 6, 0);
            ++counts.gone;
            break;
          default:
            ADD_FAILURE() << answer.status;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(counts.ok + counts.at_fault + counts.expired + counts.late + counts.gone,
            kThreads * kCalls);
}

// The engines, the statistics and the callers agree on what was run.
void ExpectAccounts(const Scripted& model, const Counts& counts) {
  std::size_t requests = 0;
  const std::vector<Script::Run> runs = model.script.runs();
  for (const Script::Run& run : runs) requests += run.values.size();
  EXPECT_EQ(requests, static_cast<std::size_t>(counts.ok + counts.at_fault));
  EXPECT_EQ(model.statistics.Get().executions, runs.size());
  EXPECT_EQ(model.pending(), 0U);
}

TEST(SchedulerStress, EveryCallerHasItsOwnAnswer) {
  for (const int instances : {1, 3}) {
    Scripted model(ScriptedConfig(4), instances);
    Counts counts;
    Callers(model, false, counts);
    EXPECT_GT(counts.ok, 0);
    EXPECT_EQ(counts.expired + counts.late + counts.gone, 0);
    ExpectAccounts(model, counts);
  }
}

TEST(SchedulerStress, BatchesOfThoseWhoHurryAndThoseWhoDoNot) {
  for (const bool ordered : {false, true}) {
    inference::ModelConfig config = BatchingConfig(8);
    inference::ModelDynamicBatching& batching = *config.mutable_dynamic_batching();
    batching.add_preferred_batch_size(5);
    batching.set_max_queue_delay_microseconds(100);
    batching.set_preserve_ordering(ordered);
    batching.set_priority_levels(2);
    batching.set_default_priority_level(2);
    batching.mutable_default_queue_policy()->set_allow_timeout_override(true);
    Scripted model(config, 2);
    Counts counts;
    Callers(model, true, counts);
    EXPECT_GT(counts.ok, 0);
    ExpectAccounts(model, counts);
    // No instance was lost: both run at once.
    std::future<Answer> first = model.Occupy(-1, {.rows = 5});
    std::future<Answer> second = model.Occupy(-2, {.rows = 5});
    model.script.Open();
    EXPECT_EQ(first.get().status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(second.get().status.code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace inferpool::modelserver
