// backend::Aggregator with a model server that is a function: it answers each row's number.
#include "worker/backend/aggregator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <random>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using RowAnswer = Aggregator::RowAnswer;

constexpr std::int64_t kShape[] = {1};
constexpr std::int64_t kOtherShape[] = {1, 1};

// Rows of this number are a fault of their own.
constexpr std::int32_t kBad = -1;

std::vector<std::int32_t> Numbers(const Aggregator::Rows& rows) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(rows.rows));
  EXPECT_EQ(rows.bytes, numbers.size() * 4);
  std::memcpy(numbers.data(), rows.memory->bytes().data() + rows.offset, rows.bytes);
  return numbers;
}

Aggregator::Answer MakeAnswer(const std::vector<std::int32_t>& numbers) {
  inference::ModelInferResponse response;
  AddRawOutput(response, "out", inference::TYPE_INT32,
               std::vector<std::int64_t>{static_cast<std::int64_t>(numbers.size()), 1})
      .assign(reinterpret_cast<const char*>(numbers.data()), numbers.size() * 4);
  return std::make_shared<const InferAnswer>(*InferAnswer::FromMessage(std::move(response)));
}

std::int32_t Number(const RowAnswer& answer) {
  const auto row = RowOf(*answer.answer->Find("out"), answer.rows, answer.row);
  EXPECT_TRUE(row.ok()) << row.status();
  std::int32_t number = 0;
  std::memcpy(&number, row->data(), sizeof number);
  return number;
}

Lease OnHeap(std::size_t bytes, bool /*last*/) {
  return Lease::OnHeap(bytes);
}

class AggregatorTest : public testing::Test {
 protected:
  using Result = std::future<absl::StatusOr<RowAnswer>>;

  static Deadline Far() { return Deadline::After(minutes(5)); }

  Aggregator::Row Join(std::int32_t number, Deadline deadline = Far(),
                       std::span<const std::int64_t> shape = kShape) {
    auto row = aggregator_.Join(shape, 4, {deadline, client_.get_token()});
    EXPECT_TRUE(row.ok()) << row.status();
    std::memcpy(row->bytes().data(), &number, 4);
    return *std::move(row);
  }

  static Result Infer(Aggregator::Row row) {
    return std::async(std::launch::async,
                      [held = std::move(row)]() mutable { return held.Infer(); });
  }

  // Keeps the aggregator busy: a request alone, which the server holds until Release.
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

  absl::StatusOr<Aggregator::Answer> Serve(const Aggregator::Rows& rows, const CallLimits& limits) {
    const std::stop_token& nobody_waits = limits.departed;
    const std::vector<std::int32_t> numbers = Numbers(rows);
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
  std::atomic<std::size_t> memory_ = 1 << 20;  // the largest block
  std::mutex mutex_;
  std::vector<std::vector<std::int32_t>> sent_;
  absl::Status failure_;
  Aggregator aggregator_{{.max_rows = 4, .wait = minutes(1)},
                         [this](std::size_t bytes, bool /*last*/) {
                           return bytes > memory_ ? Lease() : Lease::OnHeap(bytes);
                         },
                         [this](const Aggregator::Rows& rows, const CallLimits& limits) {
                           return Serve(rows, limits);
                         }};
};

TEST_F(AggregatorTest, ALoneRequestIsSentAtOnce) {
  for (int i = 0; i < 3; ++i) {
    const auto answer = Join(i).Infer();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(Number(*answer), i);
  }
  EXPECT_THAT(sent(), ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2)));
}

TEST_F(AggregatorTest, WhatComesWhileOneIsOutGoesTogetherWhenItIsBack) {
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

TEST_F(AggregatorTest, AFullBatchWaitsForNothing) {
  Result first = Occupy();
  std::vector<Result> results;
  for (int i = 0; i < 4; ++i) results.push_back(Infer(Join(i)));
  for (Result& result : results) EXPECT_TRUE(result.get().ok());
  EXPECT_THAT(sent(), ElementsAre(ElementsAre(100), ElementsAre(0, 1, 2, 3)));
  Release();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, ABatchLeavesAfterItsWait) {
  Aggregator hasty(
      {.max_rows = 4, .wait = milliseconds(1)}, OnHeap,
      [this](const auto& rows, const CallLimits& limits) { return Serve(rows, limits); });
  auto lone = hasty.Join(kShape, 4, {Far()});  // is out, though not sent yet
  auto leader = hasty.Join(kShape, 4, {Far()});
  std::memset(leader->bytes().data(), 0, 4);
  EXPECT_TRUE(leader->Infer().ok());
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(AggregatorTest, ABatchFailsOnlyWhoseRowIsAtFault) {
  Result first = Occupy();
  Result results[] = {Infer(Join(1)), Infer(Join(kBad)), Infer(Join(3))};
  Release();
  EXPECT_EQ(Number(*results[0].get()), 1);
  EXPECT_EQ(results[1].get().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Number(*results[2].get()), 3);
  EXPECT_THAT(sent(), UnorderedElementsAre(ElementsAre(100), ElementsAre(1, kBad, 3),
                                           ElementsAre(1), ElementsAre(kBad), ElementsAre(3)));
}

TEST_F(AggregatorTest, ALoneRowsFaultIsNotRepeated) {
  EXPECT_FALSE(Join(kBad).Infer().ok());
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(AggregatorTest, AServersFailureIsEverybodysWithoutARepetition) {
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

TEST_F(AggregatorTest, AFollowerLeavesAtItsDeadlineAndTheOthersStay) {
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

TEST_F(AggregatorTest, AFollowerLeavesWithItsClient) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  std::stop_source leaving = std::exchange(client_, {});
  client_.swap(leaving);
  auto row = aggregator_.Join(kShape, 4, {Far(), leaving.get_token()});
  std::memset(row->bytes().data(), 0, 4);
  Result follower = Infer(*std::move(row));
  leaving.request_stop();
  EXPECT_EQ(follower.get().status().code(), absl::StatusCode::kCancelled);
  Release();
  EXPECT_TRUE(leader.get().ok());
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, ALeaderWhoseClientLeftServesTheOthers) {
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

TEST_F(AggregatorTest, TheCallIsStoppedWhenTheLastHasLeft) {
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

TEST_F(AggregatorTest, ARowThatIsGivenUpHoldsNobodyUp) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  { const auto given_up = Join(2); }
  Result follower = Infer(Join(3));
  Release();
  EXPECT_EQ(Number(*leader.get()), 1);
  EXPECT_EQ(Number(*follower.get()), 3);
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, WithoutTheirLeaderTheOthersGoOnAlone) {
  Result first = Occupy();
  Result followers[2];
  {
    const auto leader = Join(1);
    for (Result& follower : followers) follower = Infer(Join(2));
  }
  for (Result& follower : followers) EXPECT_EQ(Number(*follower.get()), 2);
  Release();
  EXPECT_TRUE(first.get().ok());
  EXPECT_THAT(sent(), ElementsAre(ElementsAre(100), ElementsAre(2), ElementsAre(2)));
  EXPECT_EQ(Number(*Join(7).Infer()), 7) << "and all goes on";
}

TEST_F(AggregatorTest, AGivenUpLoneRowIsOutNoMore) {
  { const auto given_up = Join(1); }
  EXPECT_EQ(Number(*Join(2).Infer()), 2);
}

TEST_F(AggregatorTest, NobodyWaitsForARowThatIsNotWritten) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  auto slow = Join(2);
  Result behind = Infer(Join(3));
  Release();
  EXPECT_EQ(Number(*leader.get()), 1);
  EXPECT_EQ(Number(*behind.get()), 3);
  EXPECT_EQ(Number(*slow.Infer()), 2);
  EXPECT_THAT(sent(), UnorderedElementsAre(ElementsAre(100), ElementsAre(1), ElementsAre(2),
                                           ElementsAre(3)));
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, WhoIsBehindARowThatIsNotWrittenDoesNotWaitForTheLeadersAnswer) {
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
  EXPECT_EQ(Number(*slow.Infer()), 2);
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, WhoHasTimeLeftGoesOnAfterTheLeadersDeadline) {
  Result first = Occupy();
  const Deadline soon = Deadline::After(milliseconds(100));
  const Deadline later(soon.at() + milliseconds(50));
  auto leader = Join(1, soon);
  Result following = Infer(Join(2, later));
  std::this_thread::sleep_until(soon.at());
  FailNext(absl::DeadlineExceededError("over"));
  Release();
  EXPECT_EQ(leader.Infer().status().code(), absl::StatusCode::kDeadlineExceeded);
  const auto answer = following.get();
  // On a machine too busy the follower's time is over as well.
  EXPECT_TRUE(answer.ok() || later.Expired(Clock::now())) << answer.status();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, AnotherShapeGoesAlone) {
  Result first = Occupy();
  Result leader = Infer(Join(1));
  EXPECT_EQ(Number(*Join(2, Far(), kOtherShape).Infer()), 2);  // which sends the batch on its way
  EXPECT_EQ(Number(*leader.get()), 1);
  Release();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(AggregatorTest, ABatchIsAsLargeAsTheMemoryAllows) {
  memory_ = 8;
  Result first = Occupy();
  Result results[] = {Infer(Join(1)), Infer(Join(2))};
  for (Result& result : results) EXPECT_EQ(result.get()->rows, 2);
  memory_ = 3;
  EXPECT_EQ(aggregator_.Join(kShape, 4, {Far()}).status().code(),
            absl::StatusCode::kResourceExhausted);
  Release();
  EXPECT_TRUE(first.get().ok());
  EXPECT_FALSE(aggregator_.Join(kShape, 4, {Far()}).ok()) << "also alone";
  memory_ = 4;
  EXPECT_TRUE(Join(1).Infer().ok());
}

TEST_F(AggregatorTest, TheAnswerLivesUntilItsLastMemberIsDone) {
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

// Many threads, with all that can go wrong: everybody gets the answer of the own row, or an error
// that this row can have; nothing hangs, and no memory stays.
TEST(AggregatorStressTest, EverybodyGetsTheOwnAnswer) {
  std::atomic<int> blocks = 0;
  std::atomic<int> batched = 0;
  std::atomic<int> wrong = 0;
  std::atomic<int> answered = 0;
  struct Counted {
    explicit Counted(std::atomic<int>& counter) : count(counter) { ++count; }
    ~Counted() { --count; }
    std::atomic<int>& count;
  };
  Aggregator aggregator({.max_rows = 5, .wait = milliseconds(1)}, OnHeap,
                        [&](const Aggregator::Rows& rows,
                            const CallLimits& limits) -> absl::StatusOr<Aggregator::Answer> {
                          const Counted in_use(blocks);
                          const std::vector<std::int32_t> numbers = Numbers(rows);
                          if (rows.rows > 1) ++batched;
                          std::this_thread::sleep_for(std::chrono::microseconds(numbers[0] % 300));
                          if (limits.departed.stop_requested()) return absl::CancelledError("");
                          if (numbers[0] % 31 == 0) return absl::UnavailableError("");
                          if (std::ranges::count(numbers, kBad) > 0)
                            return absl::InvalidArgumentError("");
                          return MakeAnswer(numbers);
                        });
  std::vector<std::jthread> threads;
  for (unsigned thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      std::minstd_rand random(thread + 1);
      for (int i = 0; i < 400; ++i) {
        const bool bad = random() % 40 == 0;
        const bool hurried = random() % 30 == 0;
        const bool leaves = random() % 30 == 0;
        const auto number = bad ? kBad : static_cast<std::int32_t>(1 + random() % 1'000'000);
        std::stop_source client;
        auto row =
            aggregator.Join(random() % 50 == 0 ? std::span<const std::int64_t>(kOtherShape)
                                               : std::span<const std::int64_t>(kShape),
                            4,
                            {Deadline::After(hurried ? milliseconds(1) : milliseconds(60'000)),
                             client.get_token()});
        if (!row.ok() || random() % 40 == 0) continue;
        std::memcpy(row->bytes().data(), &number, 4);
        std::jthread leaving;
        if (leaves) leaving = std::jthread([&] { client.request_stop(); });
        const auto answer = row->Infer();
        if (answer.ok()) {
          ++answered;
          wrong += bad || Number(*answer) != number;
          continue;
        }
        switch (answer.status().code()) {
          case absl::StatusCode::kInvalidArgument:
            wrong += !bad;
            break;
          case absl::StatusCode::kCancelled:
            wrong += !leaves;
            break;
          case absl::StatusCode::kDeadlineExceeded:
            wrong += !hurried;
            break;
          default:
            wrong += !absl::IsUnavailable(answer.status());
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(blocks, 0);
  EXPECT_GT(batched, 0);
  EXPECT_GT(answered, 1000);
}

}  // namespace
}  // namespace inferpool::backend
