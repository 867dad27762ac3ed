#include "worker/streams/frame_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace inferpool::streams {
namespace {

std::vector<Frame> Frames(int count) {
  std::vector<Frame> frames(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) frames[static_cast<std::size_t>(i)].shard = i;
  return frames;
}

bool IsAwake(const FrameQueue& queue) {
  pollfd event{.fd = queue.fd(), .events = POLLIN, .revents = 0};
  const bool awake = poll(&event, 1, 0) == 1;
  if (awake) queue.Clear();
  return awake;
}

TEST(FrameQueueTest, AThreadTakesWhatIsThereInOrder) {
  FrameQueue queue;
  queue.SetWidth({.threads = 2, .group = 3});
  queue.Put(Frames(5));
  const auto first = queue.Take();
  ASSERT_EQ(first.size(), 3);
  EXPECT_EQ(first[2].shard, 2);
  EXPECT_EQ(queue.Take().size(), 2);
  queue.Close();
  EXPECT_TRUE(queue.Take().empty());
}

TEST(FrameQueueTest, NoMoreThreadsWorkThanItIsWide) {
  FrameQueue queue;
  queue.SetWidth({.threads = 1, .group = 1});
  queue.Put(Frames(2));
  ASSERT_EQ(queue.Take().size(), 1);
  std::atomic<bool> got = false;
  std::jthread other([&] { got = queue.Take().size() == 1; });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(got);
  queue.Finish(std::vector<Outcome>(1));
  other.join();
  EXPECT_TRUE(got);
}

TEST(FrameQueueTest, TheReaderIsWokenByTheFirstTheFullTripAndTheLast) {
  FrameQueue queue;
  queue.SetWidth({.threads = 100, .group = 1});
  queue.Put(Frames(40));
  for (int i = 1; i <= 40; ++i) {
    ASSERT_EQ(queue.Take().size(), 1);
  }
  for (int i = 1; i <= 40; ++i) {
    queue.Finish(std::vector<Outcome>(1));
    EXPECT_EQ(IsAwake(queue), i == 1 || i == static_cast<int>(FrameQueue::kFullTrip) || i == 40)
        << i;
  }
  EXPECT_EQ(queue.progress().outcomes, 40);
  EXPECT_TRUE(queue.progress().is_done);
  EXPECT_EQ(queue.Outcomes().size(), 40);
  EXPECT_FALSE(queue.progress().first_outcome.has_value());
}

}  // namespace
}  // namespace inferpool::streams
