#include "worker/http/rate_fields.h"

#include <gtest/gtest.h>

#include <chrono>

namespace inferpool::http {
namespace {

TEST(RateFieldsTest, ThePolicyHasTheRateAndAtLeastABurst) {
  EXPECT_EQ(RateLimitPolicy({.per_s = 100, .burst = 100}), R"("default";q=100;w=1)");
  EXPECT_EQ(RateLimitPolicy({.per_s = 50, .burst = 100}), R"("default";q=100;w=2)");
  EXPECT_EQ(RateLimitPolicy({.per_s = 0.5, .burst = 1}), R"("default";q=1;w=2)");
  EXPECT_EQ(RateLimitPolicy({.per_s = 0.1, .burst = 3}), R"("default";q=3;w=30)");
  EXPECT_EQ(RateLimitPolicy({.per_s = 1000, .burst = 1}), R"("default";q=1000;w=1)");
  EXPECT_EQ(RateLimitPolicy({.per_s = 3, .burst = 10}), R"("default";q=12;w=4)");
  EXPECT_EQ(RateLimitPolicy({.per_s = 1e-9, .burst = 1'000'000'000}),
            R"("default";q=1000000000;w=999999999999999)");
}

TEST(RateFieldsTest, TheStateHasWhatIsLeftAndWhenThereIsMore) {
  using std::chrono::milliseconds;
  EXPECT_EQ(
      RateLimitState(
          {.allowed = true, .retry_after = {}, .remaining = 99, .restored_in = milliseconds(20)}),
      R"("default";r=99;t=1)");
  EXPECT_EQ(RateLimitState({.allowed = false,
                            .retry_after = milliseconds(1'200),
                            .remaining = 0,
                            .restored_in = milliseconds(1'200)}),
            R"("default";r=0;t=2)");
  EXPECT_EQ(RateLimitState({.allowed = true, .retry_after = {}, .remaining = 5, .restored_in = {}}),
            R"("default";r=5;t=0)");
}

}  // namespace
}  // namespace inferpool::http
