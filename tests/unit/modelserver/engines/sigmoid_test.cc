#include "modelserver/engines/sigmoid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace inferpool::modelserver {
namespace {

double Exact(double x) {
  return 1 / (1 + std::exp(-x));
}

TEST(Sigmoids, AreExactToSixDigits) {
  std::vector<float> from;
  for (float x = -86; x < 100; x += 0.0137F) {
    from.push_back(x);
  }
  std::vector<float> to(from.size());
  Sigmoid(from.data(), to.data(), from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    ASSERT_NEAR(to[i] / Exact(from[i]), 1, 1e-6) << from[i];
  }
  Silu(from.data(), from.data(), from.size());  // in place
  for (std::size_t i = 0; i < from.size(); ++i) {
    const float x = from[i] / to[i];
    ASSERT_NEAR(x, -86 + 0.0137 * static_cast<double>(i), 0.01) << i;
  }
}

TEST(Sigmoids, HaveLimitsAndKeepWhatIsNotANumber) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> from = {0, 1e30F, -1e30F, -1000, std::nanf(""), kInfinity};
  std::vector<float> to(from.size());
  Sigmoid(from.data(), to.data(), from.size());
  EXPECT_FLOAT_EQ(to[0], 0.5F);
  EXPECT_FLOAT_EQ(to[1], 1);
  EXPECT_NEAR(to[2], 0, 1e-37);
  EXPECT_NEAR(to[3], 0, 1e-37);
  EXPECT_TRUE(std::isnan(to[4]));
  EXPECT_FLOAT_EQ(to[5], 1);
  Silu(from.data(), to.data(), from.size());
  EXPECT_FLOAT_EQ(to[0], 0);
  EXPECT_FLOAT_EQ(to[1], 1e30F);
  EXPECT_NEAR(to[3], 0, 1e-33);
  EXPECT_TRUE(std::isnan(to[4]));
}

}  // namespace
}  // namespace inferpool::modelserver
