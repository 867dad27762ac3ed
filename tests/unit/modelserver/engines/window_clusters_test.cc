#include "modelserver/engines/window_clusters.h"

#include <gtest/gtest.h>

#include <chrono>

namespace inferpool::modelserver {
namespace {

Window At(float x, float y, float side, double margin, double weight = 1) {
  return {.box = cv::Rect2f(x, y, side, side), .margin = margin, .weight = weight};
}

TEST(Windows, ThatOverlapAreOneCluster) {
  const auto clusters = ClusterWindows({At(0, 0, 10, 1), At(2, 0, 10, 3, 2), At(100, 0, 10, 2)});
  ASSERT_EQ(clusters.size(), 2U);
  EXPECT_DOUBLE_EQ(clusters[0].evidence, 7);
  EXPECT_DOUBLE_EQ(clusters[0].agreement, 1);                   // without the strongest
  EXPECT_NEAR(clusters[0].box.x, (1 * 0 + 6 * 2) / 7.0, 1e-4);  // weighted by margin
  EXPECT_NEAR(clusters[0].box.width, 10, 1e-4);
  EXPECT_DOUBLE_EQ(clusters[1].evidence, 2);
  EXPECT_DOUBLE_EQ(clusters[1].agreement, 0);
}

TEST(Windows, ANestedClusterIsDropped) {
  const auto clusters = ClusterWindows({At(0, 0, 100, 5), At(40, 40, 20, 1), At(95, 0, 20, 1)});
  ASSERT_EQ(clusters.size(), 2U);
  EXPECT_NEAR(clusters[0].box.width, 100, 1e-4);
  EXPECT_NEAR(clusters[1].box.x, 95, 1e-4);  // touches, but is not covered
}

TEST(Windows, TheOrderOfWindowsDoesNotMatter) {
  std::vector<Window> windows;
  for (int i = 0; i < 40; ++i) {
    windows.push_back(
        At(static_cast<float>(i % 8 * 3), static_cast<float>(i / 8 * 4), 12, 1 + i % 5));
  }
  const auto one = ClusterWindows(windows);
  std::ranges::reverse(windows);
  const auto other = ClusterWindows(windows);
  ASSERT_EQ(one.size(), other.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].box, other[i].box);
    EXPECT_EQ(one[i].evidence, other[i].evidence);
  }
}

TEST(Windows, AreBoundedInNumber) {
  std::vector<Window> windows;
  for (int i = 0; i < 200000; ++i) {
    windows.push_back(
        At(static_cast<float>(i % 1000 * 50), static_cast<float>(i / 1000 * 50), 10, i % 100));
  }
  EXPECT_LE(ClusterWindows(std::move(windows)).size(), 1024U);
  EXPECT_TRUE(ClusterWindows({}).empty());
}

TEST(Confidence, IsOrderedBetweenZeroAndOne) {
  EXPECT_EQ(EvidenceConfidence(0, 50), 0);
  EXPECT_FLOAT_EQ(EvidenceConfidence(50, 50), 0.5F);
  EXPECT_FLOAT_EQ(EvidenceConfidence(200, 50), 8.0F / 9);  // 4^1.5 = 8
  float previous = 0;
  for (double evidence = 1; evidence < 5000; evidence *= 1.3) {
    const float confidence = EvidenceConfidence(evidence, 50);
    EXPECT_GT(confidence, previous);
    EXPECT_LT(confidence, 1);
    previous = confidence;
  }
}

}  // namespace
}  // namespace inferpool::modelserver
