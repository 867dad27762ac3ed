#include "modelserver/instance_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

namespace inferpool::modelserver {
namespace {

using std::chrono::milliseconds;

bool Never() {
  return false;
}

// Notices when two callers are in it.
class OneAtATime : public Engine {
 public:
  void Run(std::span<Execution> /*batch*/) override {
    ++runs_;  // not atomic: ThreadSanitizer sees a second caller
  }
  int runs() const { return runs_; }

 private:
  int runs_ = 0;
};

std::vector<std::unique_ptr<Engine>> Engines(int count) {
  std::vector<std::unique_ptr<Engine>> engines;
  engines.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    engines.push_back(std::make_unique<OneAtATime>());
  }
  return engines;
}

Deadline Long() {
  return Deadline::After(std::chrono::minutes(1));
}

TEST(InstancePool, LeasesEachInstanceToOneCallerAtATime) {
  constexpr int kThreads = 16;
  constexpr int kCalls = 500;
  std::vector<std::unique_ptr<Engine>> engines = Engines(3);
  std::vector<OneAtATime*> seen;
  seen.reserve(engines.size());
  for (const auto& engine : engines) {
    seen.push_back(static_cast<OneAtATime*>(engine.get()));
  }
  InstancePool pool(std::move(engines), kThreads);
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < kCalls; ++call) {
        const auto lease = pool.Acquire(Long(), Never);
        ASSERT_TRUE(lease.ok()) << lease.status();
        lease->engine().Run({});
      }
    });
  }
  threads.clear();
  int runs = 0;
  for (const OneAtATime* engine : seen) {
    runs += engine->runs();
  }
  EXPECT_EQ(runs, kThreads * kCalls);
}

TEST(InstancePool, ServesInTheOrderOfArrival) {
  constexpr std::size_t kCallers = 5;
  InstancePool pool(Engines(1), kCallers);
  std::optional<InstancePool::Lease> held(*pool.Acquire(Long(), Never));
  std::array<std::atomic<bool>, kCallers> waits = {};
  std::vector<std::size_t> order;  // guarded by the lease
  std::vector<std::jthread> threads;
  threads.reserve(kCallers);
  for (std::size_t i = 0; i < kCallers; ++i) {
    threads.emplace_back([&, i] {
      // Only a caller that is in the queue is asked whether it is still there.
      const auto lease = pool.Acquire(Long(), [&waits, i] {
        waits[i] = true;
        return false;
      });
      ASSERT_TRUE(lease.ok());
      order.push_back(i);
    });
    while (!waits[i]) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  held.reset();
  threads.clear();
  EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
}

TEST(InstancePool, ACallerWaitsNoLongerThanItsDeadline) {
  InstancePool pool(Engines(1), 10);
  const auto held = pool.Acquire(Long(), Never);
  const TimePoint start = Clock::now();
  const auto late = pool.Acquire(Deadline::After(milliseconds(30)), Never);
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(Clock::now() - start, milliseconds(30));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
}

TEST(InstancePool, AnExpiredCallerGetsNothingThoughAnInstanceIsIdle) {
  InstancePool pool(Engines(1), 10);
  EXPECT_EQ(pool.Acquire(Deadline(Clock::now()), Never).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(InstancePool, ACallerThatLeavesIsForgotten) {
  InstancePool pool(Engines(1), 10);
  {
    const auto held = pool.Acquire(Long(), Never);
    EXPECT_EQ(pool.Acquire(Long(), [] { return true; }).status().code(),
              absl::StatusCode::kCancelled);
  }
  EXPECT_TRUE(pool.Acquire(Long(), Never).ok());  // the instance did not go to the one who left
}

TEST(InstancePool, RefusesMoreThanMayWait) {
  InstancePool pool(Engines(1), 1);
  std::optional<InstancePool::Lease> held(*pool.Acquire(Long(), Never));
  std::atomic<bool> waits = false;
  std::jthread waiter([&] {
    EXPECT_TRUE(pool.Acquire(Long(),
                             [&] {
                               waits = true;
                               return false;
                             })
                    .ok());
  });
  while (!waits) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(pool.Acquire(Long(), Never).status().code(), absl::StatusCode::kUnavailable);
  held.reset();
}

TEST(InstancePool, LosesNoInstanceToDeadlinesAndDepartures) {
  constexpr int kThreads = 12;
  InstancePool pool(Engines(2), kThreads);
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&pool, i] {
      for (int call = 0; call < 300; ++call) {
        const Deadline deadline = Deadline::After(std::chrono::microseconds(call % 7 * 20));
        const auto lease = pool.Acquire(deadline, [i] { return i % 2 == 0; });
        if (lease.ok()) {
          std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
      }
    });
  }
  threads.clear();
  const auto first = pool.Acquire(Deadline::After(milliseconds(100)), Never);
  const auto second = pool.Acquire(Deadline::After(milliseconds(100)), Never);
  EXPECT_TRUE(first.ok());
  EXPECT_TRUE(second.ok());
}

}  // namespace
}  // namespace inferpool::modelserver
