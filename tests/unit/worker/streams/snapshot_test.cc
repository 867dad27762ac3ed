#include "worker/streams/snapshot.h"

#include <gtest/gtest.h>

#include <opencv2/imgcodecs.hpp>
#include <vector>

namespace inferpool::streams {
namespace {

std::string Jpeg(int width, int height) {
  std::vector<unsigned char> bytes;
  cv::imencode(".jpg", cv::Mat(height, width, CV_8UC3, cv::Scalar(40, 40, 40)), bytes);
  return {bytes.begin(), bytes.end()};
}

cv::Mat Read(const std::string& file) {
  return cv::imdecode(std::vector<unsigned char>(file.begin(), file.end()), cv::IMREAD_COLOR);
}

// Whether the picture has another colour than its ground near that point.
bool IsDrawnAt(const cv::Mat& picture, int x, int y) {
  for (int dy = -2; dy <= 2; ++dy) {
    for (int dx = -2; dx <= 2; ++dx) {
      const auto pixel = picture.at<cv::Vec3b>(y + dy, x + dx);
      for (int channel = 0; channel < 3; ++channel) {
        if (pixel[channel] > 90) return true;
      }
    }
  }
  return false;
}

const vision::Result kBox = vision::Detections{
    {.x1 = 480, .y1 = 270, .x2 = 1440, .y2 = 810, .confidence = 0.9F, .class_id = 0}};

TEST(SnapshotTest, TheBoxLiesWhereItIsInTheFrame) {
  const std::string file = Jpeg(1920, 1080);
  const std::vector<std::string> names = {"person"};
  for (const cv::Mat& pixels : {cv::Mat(), cv::Mat(540, 960, CV_8UC3, cv::Scalar(40, 40, 40))}) {
    const auto snapshot = MakeSnapshot({.file = file,
                                        .pixels = pixels,
                                        .size = {1920, 1080},
                                        .result = kBox,
                                        .class_names = names});
    ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    const cv::Mat picture = Read(*snapshot);
    EXPECT_EQ(picture.size(), cv::Size(640, 360));
    EXPECT_TRUE(IsDrawnAt(picture, 480, 180)) << "the right edge";
    EXPECT_TRUE(IsDrawnAt(picture, 320, 270)) << "the lower edge";
    EXPECT_FALSE(IsDrawnAt(picture, 320, 180)) << "the middle";
    EXPECT_FALSE(IsDrawnAt(picture, 600, 180)) << "outside";
  }
}

TEST(SnapshotTest, ASmallFrameStaysAsItIs) {
  const vision::Result none = vision::Embedding{};
  const auto snapshot =
      MakeSnapshot({.file = Jpeg(320, 200), .size = {320, 200}, .result = none, .class_names = {}});
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(Read(*snapshot).size(), cv::Size(320, 200));
}

TEST(SnapshotTest, ADamagedFrameIsAnError) {
  const vision::Result none = vision::Detections{};
  EXPECT_FALSE(
      MakeSnapshot({.file = "hello", .size = {320, 200}, .result = none, .class_names = {}}).ok());
}

TEST(ScaledTest, AllThatHasAPlace) {
  const auto scaled = Scaled({{.x1 = 2,
                               .y1 = 4,
                               .x2 = 6,
                               .y2 = 8,
                               .corners = {{1, 2}},
                               .keypoints = {{3, 4, 0.5F}},
                               .mask = {{{5, 6}}}}},
                             0.5F, 2);
  const vision::Detection& one = scaled.front();
  EXPECT_EQ(one.x1, 1);
  EXPECT_EQ(one.y2, 16);
  EXPECT_EQ(one.corners.front(), (vision::Point{0.5F, 4}));
  EXPECT_EQ(one.keypoints.front(), (vision::Keypoint{1.5F, 8, 0.5F}));
  EXPECT_EQ(one.mask.front().front(), (vision::Point{2.5F, 12}));
}

}  // namespace
}  // namespace inferpool::streams
