#include "worker/streams/handles.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <opencv2/imgproc.hpp>
#include <string>

#include "tests/unit/shared/frames/producer.h"

namespace inferpool::streams {
namespace {

using test::Parsed;
using test::Producer;

class HandlesTest : public testing::Test {
 protected:
  std::string Put(const cv::Mat& plane, const char* format, int width, int height) {
    const std::string_view bytes(reinterpret_cast<const char*>(plane.data),
                                 plane.total() * plane.elemSize());
    return producer_.Put(
        bytes, {format, static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height),
                static_cast<std::uint32_t>(plane.step[0]), bytes.size()});
  }
  SharedFrame Take(const std::string& text) {
    auto frame = TakeFrame(Parsed(text), segments_, Clock::now());
    EXPECT_TRUE(frame.ok()) << frame.status();
    return frame.ok() ? *std::move(frame) : SharedFrame{};
  }
  static double Difference(const cv::Mat& one, const cv::Mat& other) {
    return cv::norm(one, other, cv::NORM_INF);
  }
  static cv::Mat Colours() {
    cv::Mat bgr(4, 6, CV_8UC3);
    cv::randu(bgr, 0, 255);
    return bgr;
  }

  Producer producer_{4, 100'000};
  frames::Segments segments_;
};

TEST_F(HandlesTest, BgrIsReadWhereItLies) {
  const cv::Mat bgr = Colours();
  const std::string text = Put(bgr, "bgr", 6, 4);
  SharedFrame frame = Take(text);
  EXPECT_EQ(Difference(frame.bgr, bgr), 0);
  EXPECT_EQ(frame.bgr.data, reinterpret_cast<const std::uint8_t*>(frame.pin.bytes().data()));
  EXPECT_TRUE(frame.IsWhole());
  EXPECT_EQ(CopiedBytes(Parsed(text)), 0U);
}

TEST_F(HandlesTest, RowsMayBeFurtherApart) {
  const cv::Mat wide(4, 10, CV_8UC3, cv::Scalar(9, 9, 9));
  Colours().copyTo(wide.colRange(0, 6));
  const SharedFrame frame = Take(Put(wide, "bgr", 6, 4));
  EXPECT_EQ(Difference(frame.bgr, wide.colRange(0, 6)), 0);
}

TEST_F(HandlesTest, OtherFormsAreConvertedAndLetGo) {
  const cv::Mat bgr = Colours();
  cv::Mat rgb;
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  const SharedFrame from_rgb = Take(Put(rgb, "rgb", 6, 4));
  EXPECT_EQ(Difference(from_rgb.bgr, bgr), 0);
  EXPECT_EQ(from_rgb.pin.segment(), nullptr);

  const cv::Mat grey(4, 6, CV_8UC1, cv::Scalar(77));
  EXPECT_EQ(Difference(Take(Put(grey, "grey", 6, 4)).bgr, cv::Mat(4, 6, CV_8UC3, {77, 77, 77})), 0);

  // Video white, without a colour.
  cv::Mat planes(6, 6, CV_8UC1, cv::Scalar(235));
  planes.rowRange(4, 6).setTo(128);
  EXPECT_LE(
      Difference(Take(Put(planes, "nv12", 6, 4)).bgr, cv::Mat(4, 6, CV_8UC3, {255, 255, 255})), 1);
}

TEST_F(HandlesTest, FilesAreCopies) {
  const std::string text = producer_.Put("\xff\xd8\xff...");
  const SharedFrame frame = Take(text);
  EXPECT_EQ(frame.file, "\xff\xd8\xff...");
  EXPECT_EQ(frame.pin.segment(), nullptr);
  EXPECT_TRUE(frame.bgr.empty());
  EXPECT_EQ(CopiedBytes(Parsed(text)), 6U);
}

TEST_F(HandlesTest, WhatIsGoneIsSaidToBe) {
  const std::string old = producer_.Put("old");
  for (int i = 0; i < 4; ++i) producer_.Put("new");
  EXPECT_TRUE(absl::IsNotFound(TakeFrame(Parsed(old), segments_, Clock::now()).status()));
}

}  // namespace
}  // namespace inferpool::streams
