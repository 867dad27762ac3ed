#include "worker/vision/letterbox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "shared/pictures/jpeg.h"
#include "tests/unit/shared/pictures/data.h"
#include "worker/vision/reduction.h"

namespace inferpool::vision {
namespace {

const cv::Size kPicture(37, 23);

cv::Mat KnownPixels(const std::string& bytes) {
  return cv::Mat(kPicture, CV_8UC3, const_cast<char*>(bytes.data())).clone();
}

InputLayout LayoutOf(const Json::Value& known) {
  InputLayout layout;
  const std::string datatype = known["datatype"].asString();
  layout.datatype = datatype == "FP32"   ? Datatype::kFp32
                    : datatype == "FP16" ? Datatype::kFp16
                                         : Datatype::kUint8;
  layout.channels_first = known["channels_first"].asBool();
  layout.rgb = known["rgb"].asBool();
  layout.size = {known["width"].asInt(), known["height"].asInt()};
  const std::string resize = known["resize"].asString();
  layout.resize = resize == "crop"      ? Resize::kCrop
                  : resize == "stretch" ? Resize::kStretch
                                        : Resize::kLetterbox;
  if (resize == "any") {
    layout.max_side = known["width"].asInt();
    layout.size = {};
  }
  const double mean[] = {0.485, 0.456, 0.406};
  const double deviation[] = {0.229, 0.224, 0.225};
  for (std::size_t i = 0; i < 3; ++i) {
    const double divisor = known["normalised"].asBool() ? deviation[i] : 1;
    const double subtracted = known["normalised"].asBool() ? mean[i] : 0;
    layout.scale[i] = static_cast<float>(1 / 255.0 / divisor);
    layout.offset[i] = static_cast<float>(-subtracted / divisor);
  }
  return layout;
}

std::vector<float> Numbers(Datatype datatype, const void* data, std::size_t bytes) {
  const int type = datatype == Datatype::kFp32   ? CV_32F
                   : datatype == Datatype::kFp16 ? CV_16F
                                                 : CV_8U;
  const int count = static_cast<int>(bytes / CV_ELEM_SIZE(type));
  cv::Mat floats;
  cv::Mat(1, count, type, const_cast<void*>(data)).convertTo(floats, CV_32F);
  return {floats.begin<float>(), floats.end<float>()};
}

// Largest differences allowed: FP32 1e-6 (both compute exactly the same bytes, then round once or
// twice), FP16 one unit in the last place of 2.6, bytes none.
double Tolerance(Datatype datatype) {
  switch (datatype) {
    case Datatype::kFp32:
      return 1e-6;
    case Datatype::kFp16:
      return 0.002;
    case Datatype::kUint8:
      return 0;
  }
  return 0;
}

TEST(LetterboxTest, AgreesWithOpenCvAndNumpyStepByStep) {
  const cv::Mat pixels = KnownPixels(ReadData("letterbox.bgr"));
  for (const Json::Value& known : ReadJson("letterbox.json")) {
    SCOPED_TRACE(known["name"].asString());
    const InputLayout layout = LayoutOf(known);
    const Placement placement = Place(layout, kPicture);
    const std::string expected = ReadData("letterbox_" + known["name"].asString() + ".bin");
    std::vector<std::byte> row(RowBytes(layout, placement.input));
    ASSERT_EQ(row.size(), expected.size());
    ASSERT_TRUE(WriteInput(pixels, placement, layout, row).ok());
    const auto got = Numbers(layout.datatype, row.data(), row.size());
    const auto want = Numbers(layout.datatype, expected.data(), expected.size());
    double largest = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      largest = std::max(largest, std::abs(double{got[i]} - double{want[i]}));
    }
    EXPECT_LE(largest, Tolerance(layout.datatype));
  }
}

TEST(LetterboxTest, ExtremePicturesFit) {
  for (const cv::Size size : {cv::Size(1, 1), cv::Size(1, 5000), cv::Size(5000, 1)}) {
    const cv::Mat pixels(size, CV_8UC3, cv::Scalar::all(200));
    for (const Resize resize : {Resize::kLetterbox, Resize::kStretch, Resize::kCrop}) {
      InputLayout layout;
      layout.size = {33, 17};
      layout.resize = resize;
      const Placement placement = Place(layout, size);
      std::vector<std::byte> row(RowBytes(layout, placement.input));
      EXPECT_TRUE(WriteInput(pixels, placement, layout, row).ok());
      for (const float value : Numbers(layout.datatype, row.data(), row.size())) {
        ASSERT_TRUE(value == 200 || value == 114);
      }
    }
  }
}

TEST(LetterboxTest, CropAndAnySizeAverageWhatTheyShrink) {
  cv::Mat stripes(64, 64, CV_8UC3, cv::Scalar::all(0));
  for (int x = 0; x < 64; x += 2) {
    stripes.col(x).setTo(cv::Scalar::all(254));
  }
  InputLayout layout;
  layout.datatype = Datatype::kUint8;
  layout.max_side = 12;
  std::vector<std::byte> row(12 * 12 * 3);
  ASSERT_TRUE(WriteInput(stripes, Place(layout, stripes.size()), layout, row).ok());
  for (const std::byte value : row) {
    EXPECT_EQ(static_cast<int>(value), 127);
  }
}

TEST(LetterboxTest, APictureDecodedAtAReducedScaleIsPlacedTheSame) {
  const cv::Size full(128, 64);
  for (const Resize resize : {Resize::kLetterbox, Resize::kCrop}) {
    InputLayout layout;
    layout.size = {32, 32};
    layout.resize = resize;
    const Placement placement = Place(layout, full);
    std::vector<std::byte> row(RowBytes(layout, placement.input));
    std::vector<std::byte> expected(row.size());
    const Placement reduced = Reduce({Format::kJpeg, full.width, full.height, 1}, placement);
    ASSERT_GT(reduced.reduction, 1);
    const cv::Mat small(Reduced(full, reduced.reduction), CV_8UC3, cv::Scalar::all(50));
    ASSERT_TRUE(WriteInput(small, reduced, layout, row).ok());
    const cv::Mat whole(full, CV_8UC3, cv::Scalar::all(50));
    ASSERT_TRUE(WriteInput(whole, placement, layout, expected).ok());
    EXPECT_EQ(row, expected);
  }
}

TEST(LetterboxTest, RefusesARowOrAPictureOfTheWrongKind) {
  InputLayout layout;
  layout.size = {8, 8};
  const cv::Mat pixels(4, 4, CV_8UC3, cv::Scalar::all(1));
  const Placement placement = Place(layout, pixels.size());
  alignas(8) std::byte memory[8 * 8 * 3 * 4 + 1];
  const std::span<std::byte> row(memory, sizeof memory - 1);
  EXPECT_TRUE(WriteInput(pixels, placement, layout, row).ok());
  const auto code = [&](const cv::Mat& picture, std::span<std::byte> to) {
    return WriteInput(picture, placement, layout, to).code();
  };
  EXPECT_EQ(code(pixels, row.first(row.size() - 4)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(pixels, std::span(memory + 1, row.size())), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(pixels.rowRange(0, 2), row), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(cv::Mat(4, 4, CV_8UC1), row), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(cv::Mat(), row), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inferpool::vision
