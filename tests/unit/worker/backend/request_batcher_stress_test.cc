// backend::RequestBatcher under many threads; it is for ThreadSanitizer, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/worker/backend/request_batcher_rows.h"
#include "tests/unit/worker/backend/shm/shared_memory_folder.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using BatchAnswer = RequestBatcher::BatchAnswer;

// Many threads, with all that can go wrong: everybody gets the answer of the own row, or an error
// that this row can have; nothing hangs, and no memory stays.
TEST(RequestBatcherStressTest, EverybodyGetsTheOwnAnswer) {
  std::atomic<int> calls = 0;  // that are out
  std::atomic<int> batched = 0;
  std::atomic<int> wrong = 0;
  std::atomic<int> answered = 0;
  struct Counted {
    explicit Counted(std::atomic<int>& counter) : count(counter) { ++count; }
    ~Counted() { --count; }
    std::atomic<int>& count;
  };
  const auto serve = [&](const BatchCall& call) -> BatchAnswer {
    const Counted in_use(calls);
    const std::vector<std::int32_t> numbers = Numbers(call.input);
    if (call.input.rows > 1) ++batched;
    std::this_thread::sleep_for(std::chrono::microseconds(numbers[0] % 300));
    if (call.limits.departed.stop_requested()) return absl::CancelledError("");
    if (numbers[0] % 31 == 0) return absl::UnavailableError("");
    if (std::ranges::count(numbers, kBad) > 0) return absl::InvalidArgumentError("");
    return MakeAnswer(numbers);
  };
  const test::SharedMemoryFolder folder;
  constexpr std::size_t kArenaBytes = 64 << 10;
  TensorMemory memory(Transport::kShm, folder.domain(), kArenaBytes, 1 << 20);
  RequestBatcher batcher({.max_rows = 5, .wait = milliseconds(1)}, memory);
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
        auto row = batcher.Join(random() % 50 == 0 ? std::span<const std::int64_t>(kOtherShape)
                                                   : std::span<const std::int64_t>(kShape),
                                4,
                                {Deadline::After(hurried ? milliseconds(1) : milliseconds(60'000)),
                                 client.get_token()});
        if (!row.ok() || random() % 40 == 0) continue;
        std::memcpy(row->bytes().data(), &number, 4);
        if (row->leads() && random() % 40 == 0) {
          row->Close();
          continue;  // as if the call had thrown
        }
        std::jthread leaving;
        if (leaves) leaving = std::jthread([&] { client.request_stop(); });
        const auto answer = InferBy(*std::move(row), serve);
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
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(memory.AllocateRows(kArenaBytes, 1)) << "all of it was given back";
  EXPECT_GT(batched, 0);
  EXPECT_GT(answered, 1000);
}

}  // namespace
}  // namespace inferpool::backend
