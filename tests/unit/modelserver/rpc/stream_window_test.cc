#include "modelserver/rpc/stream_window.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

namespace inferpool::modelserver {
namespace {

std::future<void> Enters(StreamWindow& window, std::size_t bytes) {
  return std::async(std::launch::async, [&window, bytes] { window.Acquire(bytes); });
}

bool Waits(const std::future<void>& enters) {
  return enters.wait_for(std::chrono::milliseconds(20)) == std::future_status::timeout;
}

TEST(StreamWindow, HasRoomForSoManyRequests) {
  StreamWindow window;
  for (std::size_t i = 0; i < kMaxInStream; ++i) window.Acquire(1);
  const std::future<void> next = Enters(window, 1);
  EXPECT_TRUE(Waits(next));
  window.Exchange(1, 5);  // an answer that waits to be sent keeps its place
  EXPECT_TRUE(Waits(next));
  window.Release(5);
  next.wait();
}

TEST(StreamWindow, HasRoomForSoManyBytesOfRequestsAndAnswers) {
  StreamWindow window;
  window.Acquire(kMaxBytesInStream / 2);
  window.Acquire(kMaxBytesInStream / 2);
  const std::future<void> next = Enters(window, 100);
  EXPECT_TRUE(Waits(next));
  window.Exchange(kMaxBytesInStream / 2, kMaxBytesInStream / 2 - 99);
  EXPECT_TRUE(Waits(next));
  window.Exchange(kMaxBytesInStream / 2, 1);
  next.wait();
}

TEST(StreamWindow, WhatIsLargerThanAllOfItHasItAlone) {
  StreamWindow window;
  window.Acquire(1);
  const std::future<void> large = Enters(window, kMaxBytesInStream + 1);
  EXPECT_TRUE(Waits(large));
  window.Exchange(1, 1);
  EXPECT_TRUE(Waits(large));
  window.Release(1);
  large.wait();
  const std::future<void> next = Enters(window, 0);
  EXPECT_TRUE(Waits(next));
  window.Exchange(kMaxBytesInStream + 1, 0);
  next.wait();
}

}  // namespace
}  // namespace inferpool::modelserver
