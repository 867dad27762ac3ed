#include "worker/vision/encode.h"

#include <gtest/gtest.h>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"

namespace inferpool::vision {
namespace {

cv::Mat Gradient() {
  cv::Mat picture(48, 65, CV_8UC3);
  picture.forEach<cv::Vec3b>([](cv::Vec3b& pixel, const int* at) {
    pixel = {static_cast<unsigned char>(at[1] * 3), static_cast<unsigned char>(at[0] * 5), 90};
  });
  return picture;
}

TEST(EncodeTest, APngIsThePictureItself) {
  const auto bytes = EncodePicture(Gradient(), Encoding::kPng);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const Header header = *ReadHeader(*bytes);
  EXPECT_EQ(header.format, Format::kPng);
  EXPECT_EQ(cv::norm(*Decode(*bytes, header), Gradient(), cv::NORM_INF), 0);
}

TEST(EncodeTest, AJpegKeepsTheColoursOfThinLines) {
  cv::Mat picture(40, 40, CV_8UC3, cv::Scalar::all(128));
  cv::line(picture, {20, 0}, {20, 39}, {0, 0, 255}, 1);
  const auto bytes = EncodePicture(picture, Encoding::kJpeg);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const Header header = *ReadHeader(*bytes);
  EXPECT_EQ(header.format, Format::kJpeg);
  const cv::Mat again = *Decode(*bytes, header);
  EXPECT_LT(cv::norm(again, picture, cv::NORM_INF), 30);
}

TEST(EncodeTest, APartOfAPictureIsEncodedAsWell) {
  const cv::Mat part = Gradient()(cv::Rect(3, 5, 20, 30));
  for (const Encoding encoding : {Encoding::kJpeg, Encoding::kPng}) {
    const auto bytes = EncodePicture(part, encoding);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_LE(cv::norm(*Decode(*bytes, *ReadHeader(*bytes)), part, cv::NORM_INF), 8);
  }
}

TEST(EncodeTest, AJpegsSidesHaveALimit) {
  const cv::Mat widest = cv::Mat::zeros(1, 65'500, CV_8UC3);
  EXPECT_TRUE(EncodePicture(widest, Encoding::kJpeg).ok());
  const cv::Mat wider = cv::Mat::zeros(1, 65'501, CV_8UC3);
  EXPECT_EQ(EncodePicture(wider, Encoding::kJpeg).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(EncodePicture(wider, Encoding::kPng).ok());
}

TEST(EncodeTest, OtherPixelsThanBgrAreRefused) {
  EXPECT_EQ(EncodePicture(cv::Mat(), Encoding::kPng).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EncodePicture(cv::Mat(4, 4, CV_8UC1), Encoding::kJpeg).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inferpool::vision
