#include "worker/vision/reduction.h"

#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

#include "shared/pictures/decode.h"
#include "shared/pictures/jpeg.h"
#include "tests/unit/shared/pictures/data.h"
#include "worker/vision/letterbox.h"

namespace inferpool::vision {
namespace {

InputLayout Layout(Resize resize, cv::Size size) {
  InputLayout layout;
  layout.datatype = Datatype::kUint8;
  layout.channels_first = false;
  layout.rgb = false;
  layout.size = size;
  layout.resize = resize;
  return layout;
}

int ReductionOf(cv::Size picture, const InputLayout& layout, Format format = Format::kJpeg) {
  return Reduce({format, picture.width, picture.height, 1}, Place(layout, picture)).reduction;
}

TEST(ReductionTest, IsTheLargestThatStillFillsTheInput) {
  const InputLayout layout = Layout(Resize::kLetterbox, {640, 640});
  EXPECT_EQ(ReductionOf({640, 480}, layout), 1);
  EXPECT_EQ(ReductionOf({1278, 720}, layout), 1);
  EXPECT_EQ(ReductionOf({1280, 720}, layout), 2);
  EXPECT_EQ(ReductionOf({1920, 1080}, layout), 2);
  EXPECT_EQ(ReductionOf({1080, 2557}, layout), 2);
  EXPECT_EQ(ReductionOf({1080, 2560}, layout), 4);
  EXPECT_EQ(ReductionOf({5120, 3000}, layout), 8);
  EXPECT_EQ(ReductionOf({50000, 1000}, layout), 8);
}

TEST(ReductionTest, CountsThePixelsThatComeOutOnBothAxes) {
  const InputLayout layout = Layout(Resize::kStretch, {640, 100});
  EXPECT_EQ(ReductionOf({1279, 200}, layout), 2);  // 639.5 is 640
  EXPECT_EQ(ReductionOf({1280, 198}, layout), 1);
  EXPECT_EQ(ReductionOf({1280, 199}, layout), 2);
}

TEST(ReductionTest, OfACropOnlyTheCentreCounts) {
  const InputLayout layout = Layout(Resize::kCrop, {224, 224});
  EXPECT_EQ(ReductionOf({3000, 448}, layout), 2);
  EXPECT_EQ(ReductionOf({3000, 447}, layout), 1);
  EXPECT_EQ(ReductionOf({900, 5000}, layout), 4);
}

TEST(ReductionTest, AnInputOfAnySizeIsFilledAsWell) {
  InputLayout layout = Layout(Resize::kLetterbox, {});
  layout.max_side = 1000;
  EXPECT_EQ(ReductionOf({1000, 1000}, layout), 1);
  EXPECT_EQ(ReductionOf({1998, 1500}, layout), 1);
  EXPECT_EQ(ReductionOf({2000, 1500}, layout), 2);
  EXPECT_EQ(ReductionOf({8000, 4}, layout), 8);
  EXPECT_EQ(ReductionOf({8000, 3}, layout), 4);
}

TEST(ReductionTest, LessThanHalfAPixelIsNotReduced) {
  const InputLayout layout = Layout(Resize::kLetterbox, {64, 64});
  EXPECT_EQ(ReductionOf({1, 1}, layout), 1);
  EXPECT_EQ(ReductionOf({1, 60000}, layout), 2);
  EXPECT_EQ(ReductionOf({3, 60000}, layout), 4);
  EXPECT_EQ(Reduced({1, 60000}, 8), cv::Size(1, 7500));
  EXPECT_EQ(Reduced({1, 1}, 8), cv::Size(1, 1));
  EXPECT_EQ(Reduced({11, 12}, 8), cv::Size(1, 2));
  EXPECT_EQ(Reduced({13, 7}, 1), cv::Size(13, 7));
}

TEST(ReductionTest, OnlyJpegsAreReduced) {
  const InputLayout layout = Layout(Resize::kLetterbox, {64, 64});
  EXPECT_EQ(ReductionOf({4000, 4000}, layout), 8);
  EXPECT_EQ(ReductionOf({4000, 4000}, layout, Format::kPng), 1);
  EXPECT_EQ(ReductionOf({4000, 4000}, layout, Format::kWebp), 1);
}

// What is decoded never has fewer pixels than WriteInput makes of it, whatever the sides; and the
// pixels that it takes are the source's, but for less than one of them at each end.
TEST(ReductionTest, TakesThePixelsOfTheSourceAndEnough) {
  for (const Resize resize : {Resize::kLetterbox, Resize::kStretch, Resize::kCrop}) {
    const InputLayout layout = Layout(resize, {31, 17});
    for (int width = 1; width < 600; width += 7) {
      for (int height = 1; height < 600; height += 11) {
        const int orientation = 1 + (width + height) % 8;
        const Placement full = Place(layout, {width, height});
        const Placement reduced = Reduce({Format::kJpeg, width, height, orientation}, full);
        const int reduction = reduced.reduction;
        SCOPED_TRACE(testing::Message() << full.picture << " by " << reduction);
        EXPECT_EQ(reduced.content, full.content);
        const cv::Rect decoded({0, 0}, Reduced({width, height}, reduction));
        ASSERT_EQ(reduced.part & decoded, reduced.part);
        EXPECT_EQ(reduced.source.size(), reduced.part.size() * reduction);
        if (reduction == 1) {
          EXPECT_EQ(reduced.source, full.source);
          continue;
        }
        EXPECT_GE(reduced.part.width, full.content.width);
        EXPECT_GE(reduced.part.height, full.content.height);
        EXPECT_LT(std::abs(reduced.source.x - full.source.x), reduction);
        EXPECT_LT(std::abs(reduced.source.y - full.source.y), reduction);
        EXPECT_LT(std::abs(reduced.source.br().x - full.source.br().x), reduction);
        EXPECT_LT(std::abs(reduced.source.br().y - full.source.br().y), reduction);
      }
    }
  }
}

// --- decoding at those scales ---

std::string Encoded(const cv::Mat& bgr, std::vector<int> options = {cv::IMWRITE_JPEG_QUALITY, 90}) {
  std::vector<unsigned char> bytes;
  cv::imencode(".jpg", bgr, bytes, options);
  return {bytes.begin(), bytes.end()};
}

cv::Mat Astronaut() {
  const cv::Mat picture = cv::imread(INFERPOOL_SOURCE_DIR "/ops/pictures/astronaut.jpg");
  EXPECT_FALSE(picture.empty());
  return picture;
}

// The photograph with all its detail over and over, as a camera's large pictures have it.
cv::Mat Tiled(cv::Size size) {
  const cv::Mat one = Astronaut();
  const cv::Mat many = cv::repeat(one, size.height / one.rows + 1, size.width / one.cols + 1);
  return many(cv::Rect({0, 0}, size)).clone();
}

cv::Mat Enlarged(cv::Size size) {
  cv::Mat picture;
  cv::resize(Astronaut(), picture, size, 0, 0, cv::INTER_CUBIC);
  return picture;
}

TEST(ReductionTest, EveryKindOfJpegIsReducedUpright) {
  for (const KnownPicture& known : KnownPictures()) {
    if (!known.name.ends_with(".jpg")) {
      continue;
    }
    SCOPED_TRACE(known.name);
    const std::string bytes = ReadData(known.name);
    const Header header = *ReadHeader(bytes);
    const cv::Mat full = *Decode(bytes, header);
    for (const int reduction : {2, 4, 8}) {
      const auto reduced = Decode(bytes, header, reduction);
      ASSERT_TRUE(reduced.ok()) << reduced.status();
      ASSERT_EQ(reduced->type(), CV_8UC3);
      ASSERT_EQ(reduced->size(), Reduced(UprightSize(header), reduction));
      cv::Mat expected;
      cv::resize(full, expected, reduced->size(), 0, 0, cv::INTER_AREA);
      // These pictures have 2 or 3 blocks a side, so what stands out of the last one shifts much.
      EXPECT_LE(
          cv::norm(*reduced, expected, cv::NORM_L1) / (3.0 * static_cast<double>(expected.total())),
          12);
      EXPECT_LE(cv::norm(*reduced, expected, cv::NORM_INF), 40);
    }
  }
}

TEST(ReductionTest, OtherFormatsAreDecodedInFull) {
  for (const char* name : {"rgb.png", "lossless.webp"}) {
    const std::string bytes = ReadData(name);
    const auto picture = Decode(bytes, *ReadHeader(bytes), 4);
    ASSERT_TRUE(picture.ok());
    EXPECT_EQ(picture->size(), cv::Size(22, 14));
  }
}

TEST(ReductionTest, EverySideComesOutRounded) {
  for (int side = 1; side < 40; ++side) {
    const std::string bytes = Encoded(cv::Mat(side, 41 - side, CV_8UC3, cv::Scalar(20, 90, 200)));
    const Header header = *ReadHeader(bytes);
    for (const int reduction : {2, 4, 8}) {
      const auto picture = Decode(bytes, header, reduction);
      ASSERT_TRUE(picture.ok()) << picture.status();
      EXPECT_EQ(picture->size(), Reduced({41 - side, side}, reduction));
      EXPECT_NEAR(picture->at<cv::Vec3b>(picture->rows - 1, picture->cols - 1)[2], 200, 4);
    }
  }
}

TEST(ReductionTest, DamageIsFoundAtEveryScale) {
  const cv::Mat picture = Astronaut()(cv::Rect(100, 40, 120, 90));
  for (const std::string& whole :
       {Encoded(picture), Encoded(picture, {cv::IMWRITE_JPEG_PROGRESSIVE, 1}),
        Encoded(picture, {cv::IMWRITE_JPEG_RST_INTERVAL, 3}), ReadData("cmyk.jpg")}) {
    const Header header = *ReadHeader(whole);
    constexpr std::size_t kEndMarker = 2;
    int damaged = 0;
    for (std::size_t at = whole.size() / 3; at < whole.size() - kEndMarker; at += 5) {
      std::string corrupt = whole;
      corrupt.replace(at, 2, "\xff\xfe");
      const bool good = Decode(corrupt, header).ok();
      damaged += good ? 0 : 1;
      for (const int reduction : {2, 4, 8}) {
        EXPECT_EQ(Decode(whole.substr(0, at), header, reduction).status().code(),
                  absl::StatusCode::kDataLoss)
            << at;
        EXPECT_EQ(Decode(corrupt, header, reduction).ok(), good) << at;
      }
    }
    EXPECT_GT(damaged, 10);
  }
}

// --- what the model sees ---

cv::Mat Input(const std::string& bytes, const Placement& placement, const InputLayout& layout) {
  const auto picture = Decode(bytes, *ReadHeader(bytes), placement.reduction);
  EXPECT_TRUE(picture.ok()) << picture.status();
  cv::Mat input(placement.input, CV_8UC3);
  EXPECT_TRUE(
      WriteInput(*picture, placement, layout,
                 {reinterpret_cast<std::byte*>(input.data), RowBytes(layout, placement.input)})
          .ok());
  return input;
}

cv::Mat ReducedInput(const std::string& bytes, const Placement& placement,
                     const InputLayout& layout) {
  const Placement reduced = Reduce(*ReadHeader(bytes), placement);
  EXPECT_GT(reduced.reduction, 1);
  return Input(bytes, reduced, layout);
}

double MeanDifference(const cv::Mat& a, const cv::Mat& b) {
  return cv::norm(a, b, cv::NORM_L1) / (3.0 * static_cast<double>(a.total()));
}

// The mean over all pixels that each input pixel stands for: shrinking without any aliasing.
cv::Mat Ideal(const std::string& bytes, const Placement& placement) {
  const cv::Mat full = *Decode(bytes, *ReadHeader(bytes));
  cv::Mat input(placement.input, CV_8UC3, cv::Scalar::all(114));
  cv::resize(full(placement.source), input(placement.content), placement.content.size(), 0, 0,
             cv::INTER_AREA);
  return input;
}

TEST(ReductionTest, TheInputIsAtLeastAsTrueAsWithoutOnPicturesFullOfDetail) {
  const InputLayout layout = Layout(Resize::kLetterbox, {320, 320});
  for (const cv::Size size :
       {cv::Size(1000, 700), cv::Size(1920, 1080), cv::Size(2560, 1440), cv::Size(1500, 3001)}) {
    SCOPED_TRACE(testing::Message() << size);
    const std::string bytes = Encoded(Tiled(size));
    const Placement placement = Place(layout, size);
    const cv::Mat ideal = Ideal(bytes, placement);
    const double with = MeanDifference(ReducedInput(bytes, placement, layout), ideal);
    const double without = MeanDifference(Input(bytes, placement, layout), ideal);
    EXPECT_LT(with, without);
    EXPECT_LT(with, 5);
  }
}

TEST(ReductionTest, TheInputHardlyChangesOnSmoothPictures) {
  for (const int side : {320, 640}) {
    const InputLayout layout = Layout(Resize::kLetterbox, {side, side});
    for (const cv::Size size :
         {cv::Size(1280, 1280), cv::Size(1300, 1700), cv::Size(2049, 1537), cv::Size(4000, 3000)}) {
      SCOPED_TRACE(testing::Message() << size << " to " << side);
      const std::string bytes = Encoded(Enlarged(size));
      const Placement placement = Place(layout, size);
      const cv::Mat with = ReducedInput(bytes, placement, layout);
      EXPECT_LT(MeanDifference(with, Input(bytes, placement, layout)), 3);
      EXPECT_GT(cv::PSNR(with, Input(bytes, placement, layout)), 30);
    }
  }
}

TEST(ReductionTest, InputsOfAnySizeAndCropsHardlyChange) {
  InputLayout any = Layout(Resize::kLetterbox, {});
  any.max_side = 500;
  for (const InputLayout& layout : {any, Layout(Resize::kCrop, {224, 224})}) {
    for (const cv::Size size : {cv::Size(2000, 1500), cv::Size(1333, 2001), cv::Size(3000, 999)}) {
      SCOPED_TRACE(testing::Message() << size);
      const std::string bytes = Encoded(Tiled(size));
      const Placement placement = Place(layout, size);
      EXPECT_GT(cv::PSNR(ReducedInput(bytes, placement, layout), Input(bytes, placement, layout)),
                27);
    }
  }
}

// In pixels, where a pixel's middle is at its half.
cv::Point2f MiddleOfTheLight(const cv::Mat& bgr) {
  cv::Mat grey;
  cv::cvtColor(bgr, grey, cv::COLOR_BGR2GRAY);
  cv::threshold(grey, grey, 20, 0, cv::THRESH_TOZERO);
  const cv::Moments moments = cv::moments(grey);
  return {static_cast<float>(moments.m10 / moments.m00 + 0.5),
          static_cast<float>(moments.m01 / moments.m00 + 0.5)};
}

// A dot, stored in any of the eight ways, whose sides do not divide by the scale: the middle of the
// light in the model's input is where the dot is in the picture, to an eighth of an input pixel.
TEST(ReductionTest, BoxesFindTheirWayBackFromEveryOrientation) {
  const cv::Size stored(331, 243);
  for (const cv::Point dot : {cv::Point(20, 17), cv::Point(310, 230), cv::Point(150, 120)}) {
    cv::Mat picture(stored, CV_8UC3, cv::Scalar::all(0));
    cv::circle(picture, dot, 9, cv::Scalar::all(255), cv::FILLED);
    const std::string bytes = Encoded(picture, {cv::IMWRITE_JPEG_QUALITY, 98});
    for (int orientation = 1; orientation <= 8; ++orientation) {
      SCOPED_TRACE(testing::Message() << dot << " orientation " << orientation);
      Header header = *ReadHeader(bytes);
      header.orientation = orientation;
      const InputLayout layout = Layout(Resize::kStretch, {28, 29});
      const Placement placement = Reduce(header, Place(layout, UprightSize(header)));
      ASSERT_EQ(placement.reduction, 8);
      const cv::Mat upright = *Decode(bytes, header);
      const cv::Mat reduced = *Decode(bytes, header, placement.reduction);
      cv::Mat input(placement.input, CV_8UC3);
      ASSERT_TRUE(
          WriteInput(reduced, placement, layout,
                     {reinterpret_cast<std::byte*>(input.data), RowBytes(layout, placement.input)})
              .ok());
      const cv::Point2f seen = MiddleOfTheLight(input);
      const Detection found = placement.ToPicture({seen.x, seen.y, seen.x, seen.y, 1, 0});
      const cv::Point2f expected = MiddleOfTheLight(upright);
      EXPECT_NEAR(found.x1, expected.x, 1.5);
      EXPECT_NEAR(found.y1, expected.y, 1.5);
    }
  }
}

}  // namespace
}  // namespace inferpool::vision
