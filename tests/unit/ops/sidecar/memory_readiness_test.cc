#include "ops/sidecar/memory_readiness.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace inferpool::ops {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kStart = TimePoint() + std::chrono::hours(1);
const absl::Status kPassing[] = {absl::UnavailableError("not now"),
                                 absl::DeadlineExceededError("not now"),
                                 absl::ResourceExhaustedError("not now")};

std::string TextOf(const MemoryReadiness& memory) {
  return memory.status() ? std::string(Message(*memory.status())) : "not known";
}

bool Says(const MemoryReadiness& memory, const std::string& words) {
  return TextOf(memory).find(words) != std::string::npos;
}

TEST(MemoryReadinessTest, IsAskedAtOnceAndSeldomOnceItTakesIt) {
  MemoryReadiness memory("a");
  EXPECT_FALSE(memory.status());
  EXPECT_LE(memory.ask(), kStart);
  memory.Record(absl::OkStatus(), kStart);
  ASSERT_TRUE(memory.status());
  EXPECT_TRUE(memory.status()->ok());
  EXPECT_EQ(memory.ask(), kStart + seconds(5));
}

TEST(MemoryReadinessTest, OneThatSaysNoIsToldWhatToDoAtOnce) {
  for (const bool took : {false, true}) {
    MemoryReadiness memory("a");
    if (took) memory.Record(absl::OkStatus(), kStart);
    memory.Record(absl::UnimplementedError("is off"), kStart);
    ASSERT_TRUE(memory.status());
    EXPECT_TRUE(absl::IsUnavailable(*memory.status()));
    EXPECT_TRUE(Says(memory, "at a takes no shared memory (is off)")) << TextOf(memory);
    EXPECT_TRUE(Says(memory, "--allow-client-shm=true")) << TextOf(memory);
    EXPECT_EQ(memory.ask(), kStart + milliseconds(500));
  }
}

TEST(MemoryReadinessTest, OneThatTakesNoneForNowIsKnownNotToAndHasOnlyItsReason) {
  for (const absl::Status& answer : kPassing) {
    MemoryReadiness memory("a");
    memory.Record(answer, kStart);
    ASSERT_TRUE(memory.status()) << answer;
    EXPECT_TRUE(absl::IsUnavailable(*memory.status()));
    EXPECT_TRUE(Says(memory, "not now")) << TextOf(memory);
    EXPECT_FALSE(Says(memory, "--allow-client-shm")) << TextOf(memory);
    EXPECT_LE(memory.ask(), kStart + milliseconds(500));
    memory.Record(absl::OkStatus(), kStart);
    EXPECT_TRUE(memory.status()->ok());
  }
}

TEST(MemoryReadinessTest, OneThatTookItIsBelievedForHalfAMinute) {
  for (const absl::Status& answer : kPassing) {
    MemoryReadiness memory("a");
    memory.Record(absl::OkStatus(), kStart);
    memory.Record(answer, kStart + seconds(29));
    EXPECT_TRUE(memory.status()->ok()) << answer;
    memory.Record(answer, kStart + seconds(30));
    EXPECT_FALSE(memory.status()->ok()) << answer;
    // Not when it was away: it may be another one.
    memory.Record(absl::OkStatus(), kStart);
    memory.Forget();
    EXPECT_FALSE(memory.status());
    EXPECT_LE(memory.ask(), kStart);
    memory.Record(answer, kStart + seconds(1));
    EXPECT_FALSE(memory.status()->ok()) << answer;
  }
}

}  // namespace
}  // namespace inferpool::ops
