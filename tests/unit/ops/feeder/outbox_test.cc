#include "ops/feeder/outbox.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;

Picture PictureOf(std::size_t bytes) {
  return {.bytes = std::make_shared<const std::string>(bytes, 'x')};
}

std::vector<std::uint64_t> Drain(Outbox& outbox, std::size_t source, std::size_t sources) {
  std::vector<bool> held(sources, true);
  held[source] = false;
  std::vector<std::uint64_t> seqs;
  for (;;) {
    const std::vector<Parcel> parcels = outbox.Take(held, Deadline(TimePoint{}));
    if (parcels.empty()) return seqs;
    seqs.push_back(parcels.front().picture.seq);
  }
}

TEST(OutboxTest, AFullQueueDropsItsOldestAndTheNumbersShowIt) {
  Outbox outbox(2, 3, 1'000);
  std::size_t dropped = 0;
  for (int i = 0; i < 5; ++i) dropped += outbox.PutNewest(0, PictureOf(10));
  outbox.PutNewest(1, PictureOf(10));
  EXPECT_EQ(dropped, 2U);
  EXPECT_EQ(Drain(outbox, 0, 2), (std::vector<std::uint64_t>{3, 4, 5}));
  EXPECT_EQ(Drain(outbox, 1, 2), (std::vector<std::uint64_t>{1}));
}

TEST(OutboxTest, BytesAreBoundedAndOnePictureAlwaysFits) {
  Outbox outbox(2, 100, 2'000);
  EXPECT_EQ(outbox.PutNewest(0, PictureOf(600)), 0U);
  EXPECT_EQ(outbox.PutNewest(0, PictureOf(400)), 0U);
  EXPECT_EQ(outbox.PutNewest(0, PictureOf(500)), 1U);
  EXPECT_EQ(outbox.PutNewest(0, PictureOf(5'000)), 2U);
  EXPECT_EQ(Drain(outbox, 0, 2), (std::vector<std::uint64_t>{4}));
}

TEST(OutboxTest, EachSourceGivesOneAtATime) {
  Outbox outbox(3, 8, 1'000);
  for (int i = 0; i < 3; ++i) outbox.PutNewest(0, PictureOf(1));
  outbox.PutNewest(2, PictureOf(1));
  const std::vector<Parcel> parcels = outbox.Take({false, false, false}, Deadline::Never());
  ASSERT_EQ(parcels.size(), 2U);
  EXPECT_EQ(parcels[0].source, 0U);
  EXPECT_EQ(parcels[1].source, 2U);
  EXPECT_TRUE(outbox.Take({true, false, false}, Deadline(TimePoint{})).empty());
}

TEST(OutboxTest, WhoIsPatientWaitsForRoom) {
  Outbox outbox(1, 1, 1'000);
  std::stop_source stop;
  ASSERT_TRUE(outbox.PutPatiently(0, PictureOf(1), stop.get_token()));
  std::jthread taker([&] {
    std::this_thread::sleep_for(milliseconds(20));
    EXPECT_EQ(outbox.Take({false}, Deadline::Never()).size(), 1U);
  });
  EXPECT_TRUE(outbox.PutPatiently(0, PictureOf(1), stop.get_token()));
  taker.join();
  std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    stop.request_stop();
  });
  EXPECT_FALSE(outbox.PutPatiently(0, PictureOf(1), stop.get_token()));
  EXPECT_EQ(Drain(outbox, 0, 1), (std::vector<std::uint64_t>{2}));
}

TEST(OutboxTest, IsFinishedWhenAllAreClosedAndNothingIsLeft) {
  Outbox outbox(2, 8, 1'000);
  outbox.PutNewest(0, PictureOf(1));
  outbox.Close(0);
  EXPECT_FALSE(outbox.Finished());
  outbox.Close(1);
  EXPECT_FALSE(outbox.Finished());
  EXPECT_EQ(Drain(outbox, 0, 2).size(), 1U);
  EXPECT_TRUE(outbox.Finished());
  // And nobody waits for what cannot come.
  EXPECT_TRUE(outbox.Take({false, false}, Deadline::Never()).empty());
}

}  // namespace
}  // namespace inferpool::feeder
