#include "modelserver/rpc/stream_room.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

namespace inferpool::modelserver {
namespace {

std::future<void> Enters(StreamRoom& room, std::size_t bytes) {
  return std::async(std::launch::async, [&room, bytes] { room.Enter(bytes); });
}

bool Waits(const std::future<void>& enters) {
  return enters.wait_for(std::chrono::milliseconds(20)) == std::future_status::timeout;
}

TEST(StreamRoom, HasRoomForSoManyRequests) {
  StreamRoom room;
  for (std::size_t i = 0; i < kMaxInStream; ++i) room.Enter(1);
  const std::future<void> next = Enters(room, 1);
  EXPECT_TRUE(Waits(next));
  room.Exchange(1, 5);  // an answer that waits to be sent keeps its place
  EXPECT_TRUE(Waits(next));
  room.Leave(5);
  next.wait();
}

TEST(StreamRoom, HasRoomForSoManyBytesOfRequestsAndAnswers) {
  StreamRoom room;
  room.Enter(kMaxBytesInStream / 2);
  room.Enter(kMaxBytesInStream / 2);
  const std::future<void> next = Enters(room, 100);
  EXPECT_TRUE(Waits(next));
  room.Exchange(kMaxBytesInStream / 2, kMaxBytesInStream / 2 - 99);
  EXPECT_TRUE(Waits(next));
  room.Exchange(kMaxBytesInStream / 2, 1);
  next.wait();
}

TEST(StreamRoom, WhatIsLargerThanAllOfItHasItAlone) {
  StreamRoom room;
  room.Enter(1);
  const std::future<void> large = Enters(room, kMaxBytesInStream + 1);
  EXPECT_TRUE(Waits(large));
  room.Exchange(1, 1);
  EXPECT_TRUE(Waits(large));
  room.Leave(1);
  large.wait();
  const std::future<void> next = Enters(room, 0);
  EXPECT_TRUE(Waits(next));
  room.Exchange(kMaxBytesInStream + 1, 0);
  next.wait();
}

}  // namespace
}  // namespace inferpool::modelserver
