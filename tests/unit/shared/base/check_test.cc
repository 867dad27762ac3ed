#include "shared/base/check.h"

#include <gtest/gtest.h>

namespace inferpool {
namespace {

TEST(Check, PassesWhatHolds) {
  int looked = 0;
  CHECK(++looked == 1);
  EXPECT_EQ(looked, 1);
}

TEST(CheckDeathTest, SaysWhereAndWhatAndAborts) {
  const int parts = 2;
  EXPECT_EXIT(CHECK(parts == 3), testing::KilledBySignal(SIGABRT),
              "check_test.cc:[0-9]+: CHECK failed: parts == 3");
}

}  // namespace
}  // namespace inferpool
