#include "worker/predict/shadow_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace inferpool::predict {
namespace {

std::shared_ptr<const ShadowJob> Job(std::size_t bytes, std::string route = "a") {
  auto job = std::make_shared<ShadowJob>();
  job->route = std::move(route);
  job->bytes = bytes;
  return job;
}

TEST(ShadowQueueTest, WhatFindsNoRoomIsNotTaken) {
  ShadowQueue queue(100);
  EXPECT_TRUE(queue.Put(Job(60)));
  EXPECT_FALSE(queue.Put(Job(41)));
  EXPECT_TRUE(queue.Put(Job(40)));
  EXPECT_FALSE(queue.Put(Job(1)));
  EXPECT_FALSE(ShadowQueue(100).Put(Job(101)));
}

TEST(ShadowQueueTest, MemoryThatJobsShareIsCountedOnceAndUntilTheLastIsDone) {
  ShadowQueue queue(100);
  const auto memory = std::make_shared<const std::string>("pictures");
  const auto put = [&](std::size_t bytes) {
    auto job = std::make_shared<ShadowJob>();
    job->memory = memory;
    job->memory_bytes = 50;
    job->bytes = bytes;
    return queue.Put(std::move(job));
  };
  EXPECT_TRUE(put(10));
  EXPECT_TRUE(put(20));
  EXPECT_FALSE(put(30));
  EXPECT_EQ(queue.bytes(), 80U);
  queue.Done(*queue.Take({}), 0);
  EXPECT_EQ(queue.bytes(), 70U);
  queue.Done(*queue.Take({}), 0);
  EXPECT_EQ(queue.bytes(), 0U);
  EXPECT_TRUE(put(50));
  EXPECT_EQ(queue.bytes(), 100U);
}

TEST(ShadowQueueTest, OnlySoManyWait) {
  ShadowQueue queue(std::size_t{1} << 30);
  for (std::size_t i = 0; i < ShadowQueue::kMaxJobs; ++i) ASSERT_TRUE(queue.Put(Job(1)));
  EXPECT_FALSE(queue.Put(Job(1)));
  queue.Done(*queue.Take({}), 0);
  EXPECT_TRUE(queue.Put(Job(1)));
}

TEST(ShadowQueueTest, TheAnswerAndTheParametersAreCounted) {
  ShadowJob job;
  const std::size_t empty = OwnBytes(job);
  EXPECT_GE(empty, sizeof(job));
  job.parameters.classes = std::string(10'000, 'a');
  EXPECT_GE(OwnBytes(job), empty + 10'000);
  vision::Detection found;
  found.mask.emplace_back(1'000);
  job.answer = vision::Detections(10, found);
  EXPECT_GE(OwnBytes(job), empty + 10'000 + 10 * 1'000 * sizeof(vision::Point));
}

TEST(ShadowQueueTest, AJobIsStaleAfterAWhileAndWhenItsRouteHasNoSuchShadow) {
  Config::Routes routes;
  routes["a"] = {.model = "m", .shadow = Config::Route::Shadow{.model = "s", .version = "2"}};
  const TimePoint now = Clock::now();
  ShadowJob job;
  job.route = "a";
  job.model = {"s", "2"};
  job.answered_at = now;
  EXPECT_FALSE(IsStale(job, routes, now + std::chrono::seconds(29)));
  EXPECT_TRUE(IsStale(job, routes, now + std::chrono::seconds(31)));
  routes["a"].shadow->version = "3";
  EXPECT_TRUE(IsStale(job, routes, now));
  routes["a"].shadow.reset();
  EXPECT_TRUE(IsStale(job, routes, now));
  EXPECT_TRUE(IsStale(job, {}, now));
}

TEST(ShadowQueueTest, TheOneInWorkIsCountedUntilItIsDone) {
  ShadowQueue queue(100);
  ASSERT_TRUE(queue.Put(Job(60, "first")));
  ASSERT_TRUE(queue.Put(Job(20, "second")));
  const auto job = queue.Take({});
  EXPECT_EQ(job->route, "first");
  EXPECT_EQ(queue.bytes(), 80U);
  EXPECT_FALSE(queue.Grow(21));
  EXPECT_TRUE(queue.Grow(20));
  EXPECT_FALSE(queue.Put(Job(1)));
  queue.Done(*job, 20);
  EXPECT_EQ(queue.bytes(), 20U);
  EXPECT_EQ(queue.Take({})->route, "second");
}

TEST(ShadowQueueTest, ItsThreadWaitsUntilThereIsOneOrItShallStop) {
  ShadowQueue queue(100);
  std::atomic<int> taken = 0;
  std::jthread thread([&](const std::stop_token& stop) {
    while (const auto job = queue.Take(stop)) {
      ++taken;
      queue.Done(*job, 0);
    }
  });
  EXPECT_TRUE(queue.Put(Job(100)));
  while (taken == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  while (queue.bytes() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(queue.Put(Job(100)));
  thread.request_stop();
  thread.join();
}

}  // namespace
}  // namespace inferpool::predict
