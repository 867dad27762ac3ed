#include "worker/backend/rpc/wake_event.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stop_token>
#include <thread>
#include <vector>

namespace inferpool::backend {
namespace {

TEST(WakeEventTest, ARingThatNobodyWaitedForIsKeptOnce) {
  WakeEvent bell;
  bell.Ring();
  bell.Ring();
  std::stop_source stop;
  EXPECT_TRUE(bell.Await(stop.get_token()));
  stop.request_stop();
  EXPECT_FALSE(bell.Await(stop.get_token()));
}

TEST(WakeEventTest, StoppingEndsTheWait) {
  WakeEvent bell;
  std::atomic<bool> rang = true;
  {
    std::jthread waiting([&](const std::stop_token& stop) { rang = bell.Await(stop); });
  }
  EXPECT_FALSE(rang);
}

TEST(WakeEventTest, TheLastRingIsNeverMissed) {
  WakeEvent bell;
  std::atomic<int> work = 0;
  std::atomic<int> done = 0;
  std::jthread waiting([&](const std::stop_token& stop) {
    while (bell.Await(stop)) done += work.exchange(0);
  });
  {
    std::vector<std::jthread> ringing;
    for (int i = 0; i < 3; ++i) {
      ringing.emplace_back([&] {
        for (int j = 0; j < 1'000; ++j) {
          ++work;
          bell.Ring();
        }
      });
    }
  }
  while (done < 3'000) std::this_thread::yield();
  EXPECT_EQ(work, 0);
}

}  // namespace
}  // namespace inferpool::backend
