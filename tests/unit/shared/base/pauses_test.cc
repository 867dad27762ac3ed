#include "shared/base/pauses.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace inferpool {
namespace {

using std::chrono::milliseconds;

TEST(PausesTest, GrowToABoundAndAreDrawn) {
  Pauses pauses(1);
  milliseconds longest{0};
  for (int i = 0; i < 20; ++i) longest = std::max(longest, pauses.Next());
  EXPECT_GE(longest, milliseconds(400));
  EXPECT_LE(longest, milliseconds(800));
  pauses.Reset();
  EXPECT_LE(pauses.Next(), milliseconds(20));
  EXPECT_NE(Pauses(2).Next(), Pauses(7).Next());
}

TEST(PausesTest, KeepWithinTheirOwnBounds) {
  Pauses pauses(3, milliseconds(500), milliseconds(30'000));
  EXPECT_GE(pauses.Next(), milliseconds(250));
  for (int i = 0; i < 10; ++i) pauses.Next();
  for (int i = 0; i < 50; ++i) {
    const milliseconds pause = pauses.Next();
    EXPECT_GE(pause, milliseconds(15'000));
    EXPECT_LE(pause, milliseconds(30'000));
  }
}

}  // namespace
}  // namespace inferpool
