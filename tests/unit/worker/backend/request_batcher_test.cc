// backend::RequestBatcher with a model server that is a function: it answers each row's number.
#include "worker/backend/request_batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/worker/backend/request_batcher_rows.h"
#include "tests/unit/worker/backend/shm/shared_memory_folder.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using BatchAnswer = RequestBatcher::BatchAnswer;
using Row = RequestBatcher::Row;

class RequestBatcherTest : public testing::Test {
 protected:
  using Result = std::future<absl::StatusOr<RowAnswer>>;

  static Deadline Far() { return Deadline::After(minutes(5)); }

  Row Join(std::int32_t number, Deadline deadline = Far(),
           std::span<const std::int64_t> shape = kShape) {
    auto row = batcher_.Join(shape, 4, {deadline, client_.get_token()});
    EXPECT_TRUE(row.ok()) << row.status();
    std::memcpy(row->bytes().data(), &number, 4);
    return *std::move(row);
  }

  absl::StatusOr<RowAnswer> InferHere(Row row) {
    return InferBy(std::move(row), [this](const BatchCall& call) { return Serve(call); });
  }
  Result Infer(Row row) {
    return std::async(std::launch::async, [this, held = std::move(row)]() mutable {
      return InferHere(std::move(held));
    });
  }

  // Keeps the batcher busy: a request alone, which the server holds until Release.
  Result Occupy() {
    hold_ = true;
    Result result = Infer(Join(100));
    held_.acquire();
    hold_ = false;
    return result;
  }
  void Release() { release_.release(); }

  std::vector<std::vector<std::int32_t>> sent() {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

  BatchAnswer Serve(const BatchCall& call) {
    const std::stop_token& nobody_waits = call.limits.departed;
    const std::vector<std::int32_t> numbers = Numbers(call.input);
    absl::Status failure;
    {
      const std::lock_guard lock(mutex_);
      sent_.push_back(numbers);
      failure = std::exchange(failure_, absl::OkStatus());
    }
    if (hold_) {
      const std::stop_callback stopped(nobody_waits, [&] { release_.release(); });
      held_.release();
      release_.acquire();
      if (nobody_waits.stop_requested()) return absl::CancelledError("stopped");
    }
    if (!failure.ok()) return failure;
    if (std::ranges::count(numbers, kBad) > 0) return absl::InvalidArgumentError("a bad row");
    return MakeAnswer(numbers);
  }

  void FailNext(absl::Status failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }

  std::stop_source client_;  // of those that join from now on
  std::atomic<bool> hold_ = false;
  std::counting_semaphore<> held_{0};
  std::counting_semaphore<> release_{0};
  std::mutex mutex_;
  std::vector<std::vector<std::int32_t>> sent_;
  absl::Status failure_;
  TensorMemory memory_ = OnHeap();
  RequestBatcher batcher_{{.max_rows = 4, .wait = minutes(1)}, memory_};
};

TEST_F(RequestBatcherTest, ALoneRequestIsSentAtOnce) {
  for (int i = 0; i < 3; ++i) {
    const auto answer = InferHere(Join(i));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(Number(*answer), i);
  }
  EXPECT_THAT(sent(), ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2)));
}

TEST_F(RequestBatcherTest, WhatComesWhileOneIsOutGoesTogetherWhenItIsBack) {
  Result first = Occupy();
  Result results[] = {Infer(Join(1)), Infer(Join(2)), Infer(Join(3))};
  EXPECT_EQ(sent().size(), 1U);
  Release();
  EXPECT_EQ(Number(*first.get()), 100);
  for (std::int32_t i = 0; i < 3; ++i) {
    const auto answer = results[i].get();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(Number(*answer), i + 1);
    EXPECT_EQ(answer->rows, 3);
  }
  EXPECT_THAT(sent(), ElementsAre(ElementsAre(100), ElementsAre(1, 2, 3)));
}

TEST_F(RequestBatcherTest, AFullBatchWaitsForNothing) {
  // On a busy machine a thread may begin so late that its row is left behind, but not each time.
  bool together = false;
  for (int round = 0; round < 20 && !together; ++round) {
    Result first = Occupy();
    std::vector<Result> results;
    for (int i = 0; i < 4; ++i) results.push_back(Infer(Join(i)));
    for (Result& result : results) EXPECT_TRUE(result.get().ok());
    together = std::ranges::count(sent(), std::vector<std::int32_t>{0, 1, 2, 3}) == 1;
    Release();
    EXPECT_TRUE(first.get().ok());
  }
  EXPECT_TRUE(together);
}

TEST_F(RequestBatcherTest, ABatchLeavesAfterItsWait) {
  RequestBatcher hasty({.max_rows = 4, .wait = milliseconds(1)}, memory_);
  auto lone = hasty.Join(kShape, 4, {Far()});  // is out, though not sent yet
  auto leader = hasty.Join(kShape, 4, {Far()});
  std::memset(leader->bytes().data(), 0, 4);
  EXPECT_TRUE(InferHere(*std::move(leader)).ok());
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(RequestBatcherTest, ABatchFailsOnlyWhoseRowIsAtFault) {
  Result first = Occupy();
  Result results[] = {Infer(Join(1)), Infer(Join(kBad)), Infer(Join(3))};
  Release();
  EXPECT_EQ(Number(*results[0].get()), 1);
  EXPECT_EQ(results[1].get().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Number(*results[2].get()), 3);
  EXPECT_THAT(sent(), UnorderedElementsAre(ElementsAre(100), ElementsAre(1, kBad, 3),
                                           ElementsAre(1), ElementsAre(kBad), ElementsAre(3)));
}

TEST_F(RequestBatcherTest, ALoneRowsFaultIsNotRepeated) {
  EXPECT_FALSE(InferHere(Join(kBad)).ok());
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(RequestBatcherTest, AServersFailureIsEverybodysWithoutARepetition) {
  for (const absl::Status& failure :
       {absl::UnavailableError("away"), absl::DeadlineExceededError("slow"),
        absl::NotFoundError("no such model"), absl::ResourceExhaustedError("full")}) {
    Result first = Occupy();
    Result results[] = {Infer(Join(1)), Infer(Join(2))};
    FailNext(failure);
    Release();
    // The failure was for the next call to come, which is the batch.
    EXPECT_EQ(results[0].get().status(), failure);
    EXPECT_EQ(results[1].get().status(), failure);
    EXPECT_TRUE(first.get().ok());
  }
  EXPECT_EQ(sent().size(), 8U);
}

TEST_F(RequestBatcherTest, AFollowerLeavesAtItsDeadlineAndTheOthersStay) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  Result hurried = Infer(Join(2, Deadline::After(milliseconds(5))));
  Result patient = Infer(Join(3));
  EXPECT_EQ(hurried.get().status().code(), absl::StatusCode::kDeadlineExceeded);
  Release();
  EXPECT_EQ(Number(*leader.get()), 1);
  EXPECT_EQ(Number(*patient.get()), 3);
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, AFollowerLeavesWithItsClient) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  std::stop_source leaving = std::exchange(client_, {});
  client_.swap(leaving);
  auto row = batcher_.Join(kShape, 4, {Far(), leaving.get_token()});
  std::memset(row->bytes().data(), 0, 4);
  Result follower = Infer(*std::move(row));
  leaving.request_stop();
  EXPECT_EQ(follower.get().status().code(), absl::StatusCode::kCancelled);
  Release();
  EXPECT_TRUE(leader.get().ok());
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, ALeaderWhoseClientLeftServesTheOthers) {
  Result first = Occupy();
  std::stop_source others = std::exchange(client_, std::stop_source());
  Result leader = Infer(Join(1));
  client_.swap(others);
  Result follower = Infer(Join(2));
  others.request_stop();
  Release();
  EXPECT_EQ(leader.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Number(*follower.get()), 2);
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, TheCallIsStoppedWhenTheLastHasLeft) {
  Result first = Occupy();
  std::stop_source clients = std::exchange(client_, std::stop_source());
  hold_ = true;
  Result leader = Infer(Join(1));
  Result follower = Infer(Join(2, Deadline::After(milliseconds(50))));
  Release();
  held_.acquire();  // the batch is out now
  client_.request_stop();
  EXPECT_EQ(leader.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(follower.get().ok());
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, ARowThatIsGivenUpHoldsNobodyUp) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  { const Row given_up = Join(2); }
  Result follower = Infer(Join(3));
  Release();
  EXPECT_EQ(Number(*leader.get()), 1);
  EXPECT_EQ(Number(*follower.get()), 3);
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, WithoutTheirLeaderTheOthersGoOnAlone) {
  Result first = Occupy();
  Result followers[2];
  {
    const Row leader = Join(1);
    for (Result& follower : followers) follower = Infer(Join(2));
  }
  for (Result& follower : followers) EXPECT_EQ(Number(*follower.get()), 2);
  Release();
  EXPECT_TRUE(first.get().ok());
  EXPECT_THAT(sent(), ElementsAre(ElementsAre(100), ElementsAre(2), ElementsAre(2)));
  EXPECT_EQ(Number(*InferHere(Join(7))), 7) << "and all goes on";
}

TEST_F(RequestBatcherTest, AGivenUpLoneRowIsOutNoMore) {
  { const Row given_up = Join(1); }
  EXPECT_EQ(Number(*InferHere(Join(2))), 2);
}

TEST_F(RequestBatcherTest, NobodyWaitsForARowThatIsNotWritten) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  auto slow = Join(2);
  Result behind = Infer(Join(3));
  Release();
  EXPECT_EQ(Number(*leader.get()), 1);
  EXPECT_EQ(Number(*behind.get()), 3);
  EXPECT_EQ(Number(*InferHere(std::move(slow))), 2);
  EXPECT_THAT(sent(), UnorderedElementsAre(ElementsAre(100), ElementsAre(1), ElementsAre(2),
                                           ElementsAre(3)));
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, WhoIsBehindARowThatIsNotWrittenDoesNotWaitForTheLeadersAnswer) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  auto slow = Join(2);
  Result behind = Infer(Join(3));
  hold_ = true;
  Release();
  // The server holds both.
  const Deadline patience = Deadline::After(seconds(30));
  while (sent().size() < 3 && !patience.Expired(Clock::now())) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_THAT(sent(), UnorderedElementsAre(ElementsAre(100), ElementsAre(1), ElementsAre(3)));
  hold_ = false;
  Release();
  Release();
  EXPECT_EQ(Number(*leader.get()), 1);
  EXPECT_EQ(Number(*behind.get()), 3);
  EXPECT_EQ(Number(*InferHere(std::move(slow))), 2);
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, WhoHasTimeLeftGoesOnAfterTheLeadersDeadline) {
  Result first = Occupy();
  const Deadline soon = Deadline::After(milliseconds(100));
  const Deadline later(soon.at() + milliseconds(50));
  auto leader = Join(1, soon);
  Result following = Infer(Join(2, later));
  std::this_thread::sleep_until(soon.at());
  FailNext(absl::DeadlineExceededError("over"));
  Release();
  EXPECT_EQ(InferHere(std::move(leader)).status().code(), absl::StatusCode::kDeadlineExceeded);
  const auto answer = following.get();
  // On a machine too busy the follower's time is over as well.
  EXPECT_TRUE(answer.ok() || later.Expired(Clock::now())) << answer.status();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, AnotherShapeGoesAlone) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  EXPECT_EQ(Number(*InferHere(Join(2, Far(), kOtherShape))),
            2);  // which sends the batch on its way
  EXPECT_EQ(Number(*leader.get()), 1);
  Release();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RequestBatcherTest, ABatchIsAsLargeAsTheMemoryAllows) {
  TensorMemory for_two(Transport::kInline, "", 0, /*message_bytes=*/(64 << 10) + 2 * 4);
  RequestBatcher batcher({.max_rows = 4, .wait = minutes(1)}, for_two);
  const auto lone = batcher.Join(kShape, 4, {Far()});
  std::vector<Result> results;
  for (int i = 0; i < 2; ++i) results.push_back(Infer(*batcher.Join(kShape, 4, {Far()})));
  for (Result& result : results) EXPECT_EQ(result.get()->rows, 2);
}

TEST_F(RequestBatcherTest, WithoutMemoryNobodyJoinsAndAllGoesOnOnceThereIsSome) {
  const test::SharedMemoryFolder folder;
  TensorMemory memory(Transport::kShm, folder.domain(), /*arena_bytes=*/128, 1 << 20);
  RequestBatcher batcher({.max_rows = 4, .wait = minutes(1)}, memory);
  Lease rest = memory.AllocateRows(64, 1);
  {
    const auto lone = batcher.Join(kShape, 4, {Far()});
    ASSERT_TRUE(lone.ok()) << lone.status();
    EXPECT_TRUE(absl::IsResourceExhausted(batcher.Join(kShape, 4, {Far()}).status())) << "to lead";
  }
  const Lease more = memory.AllocateRows(64, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(batcher.Join(kShape, 4, {Far()}).status())) << "alone";
  rest = {};
  EXPECT_TRUE(InferHere(*batcher.Join(kShape, 4, {Far()})).ok());
}

TEST_F(RequestBatcherTest, ALeaderThatClosesItsBatchAndIsGivenUpLeavesTheOthersOnTheirOwn) {
  Result first = Occupy();
  Result follower;
  {
    Row leader = Join(1);
    follower = Infer(Join(2));
    Release();
    EXPECT_GE(leader.Close().input.rows, 1);
  }
  EXPECT_EQ(Number(*follower.get()), 2);
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(Number(*InferHere(Join(7))), 7) << "and all goes on";
}

TEST_F(RequestBatcherTest, TheCallOfABatchHasItsLeadersLimitsAndEndsWithTheLastToWait) {
  Row lone = Join(0);  // is out
  const Deadline deadline = Deadline::After(minutes(4));
  std::stop_source client;
  auto leader = batcher_.Join(
      kShape, 4,
      {.deadline = deadline, .departed = client.get_token(), .priority = Priority::kHigh});
  ASSERT_TRUE(leader.ok()) << leader.status();
  std::memset(leader->bytes().data(), 0, 4);
  Row follower = Join(2, Deadline::After(milliseconds(20)));
  EXPECT_EQ(Number(*InferHere(std::move(lone))), 0);  // so that the batch may leave
  Result following = Infer(std::move(follower));
  const BatchCall call = leader->Close();
  EXPECT_EQ(call.limits.deadline.at(), deadline.at());
  EXPECT_EQ(call.limits.priority, Priority::kHigh);
  client.request_stop();
  EXPECT_TRUE(absl::IsDeadlineExceeded(following.get().status()));
  EXPECT_TRUE(call.limits.departed.stop_requested()) << "nobody waits any more";
  leader->Finish(absl::CancelledError("stopped"));
  const auto outcome = leader->Outcome();
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(absl::IsCancelled(outcome->status())) << outcome->status();
}

TEST_F(RequestBatcherTest, TheAnswerLivesUntilItsLastMemberIsDone) {
  Result first = Occupy();
  Result results[] = {Infer(Join(1)), Infer(Join(2))};
  Release();
  EXPECT_TRUE(first.get().ok());
  auto one = results[0].get();
  auto two = results[1].get();
  std::weak_ptr<const InferAnswer> answer = one->answer;
  EXPECT_EQ(one->answer, two->answer);
  one = absl::CancelledError();
  EXPECT_EQ(Number(*two), 2);
  two = absl::CancelledError();
  EXPECT_TRUE(answer.expired());
}

}  // namespace
}  // namespace inferpool::backend
