#include "worker/backend/rpc/wake_event.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stop_token>
#include <thread>
#include <vector>

namespace inferpool::backend {
namespace {

TEST(WakeEventTest, ARingThatNobodyWaitedForIsKeptOnce) {
  WakeEvent event;
  event.Wake();
  event.Wake();
  std::stop_source stop;
  EXPECT_TRUE(event.Await(stop.get_token()));
  stop.request_stop();
  EXPECT_FALSE(event.Await(stop.get_token()));
}

TEST(WakeEventTest, StoppingEndsTheWait) {
  WakeEvent event;
  std::atomic<bool> rang = true;
  {
    std::jthread waiting([&](const std::stop_token& stop) { rang = event.Await(stop); });
  }
  EXPECT_FALSE(rang);
}

TEST(WakeEventTest, TheLastRingIsNeverMissed) {
  WakeEvent event;
  std::atomic<int> work = 0;
  std::atomic<int> done = 0;
  std::jthread waiting([&](const std::stop_token& stop) {
    while (event.Await(stop)) done += work.exchange(0);
  });
  {
    std::vector<std::jthread> ringing;
    for (int i = 0; i < 3; ++i) {
      ringing.emplace_back([&] {
        for (int j = 0; j < 1'000; ++j) {
          ++work;
          event.Wake();
        }
      });
    }
  }
  while (done < 3'000) std::this_thread::yield();
  EXPECT_EQ(work, 0);
}

}  // namespace
}  // namespace inferpool::backend
