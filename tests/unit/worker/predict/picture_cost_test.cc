#include "worker/predict/picture_cost.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool::predict {
namespace {

using vision::Format;

vision::Header Header(Format format, int width, int height, int orientation = 1,
                      int components = 3) {
  return {.format = format,
          .width = width,
          .height = height,
          .orientation = orientation,
          .jpeg_components = components};
}

// A JPEG's markers alone, with so many scans.
std::string Jpeg(int scans) {
  std::string bytes = "\xff\xd8";
  for (int i = 0; i < scans; ++i) bytes += std::string("\xff\xda\0\2", 4);
  return bytes + "\xff\xd9";
}

TEST(PictureCostTest, PhotographsOfPhonesAreLight) {
  // 12 megapixels, decoded at half the scale.
  EXPECT_FALSE(DecodeCost(Jpeg(1), Header(Format::kJpeg, 4000, 3000, 6), 2).heavy);
  EXPECT_FALSE(DecodeCost("", Header(Format::kPng, 1280, 720), 1).heavy);
}

TEST(PictureCostTest, WhatTakesMuchMemoryOrTimeIsHeavy) {
  EXPECT_TRUE(DecodeCost("", Header(Format::kPng, 7071, 7071), 1).heavy);
  EXPECT_TRUE(DecodeCost(Jpeg(1), Header(Format::kJpeg, 4000, 3000), 1).heavy);
  // Little memory, but 48 megapixels of entropy coding.
  const PictureCost reduced = DecodeCost(Jpeg(1), Header(Format::kJpeg, 8000, 6000), 8);
  EXPECT_TRUE(reduced.heavy);
  EXPECT_EQ(reduced.bytes, 1000U * 750 * 3);
}

TEST(PictureCostTest, MemoryIsThatOfPixelsTurningAndTheDecoder) {
  constexpr std::uint64_t kPixels = 1'000'000;
  const auto cost = [](const std::string& bytes, const vision::Header& header) {
    return DecodeCost(bytes, header, 1).bytes;
  };
  EXPECT_EQ(cost(Jpeg(1), Header(Format::kJpeg, 1000, 1000)), 3 * kPixels);
  EXPECT_EQ(cost(Jpeg(1), Header(Format::kJpeg, 1000, 1000, 6)), 6 * kPixels);
  EXPECT_EQ(cost(Jpeg(9), Header(Format::kJpeg, 1000, 1000)), (3 + 2 * 3) * kPixels);
  EXPECT_EQ(cost(Jpeg(9), Header(Format::kJpeg, 1000, 1000, 1, 4)), (3 + 2 * 4 + 4) * kPixels);
  EXPECT_EQ(cost(Jpeg(9), Header(Format::kJpeg, 1000, 1000, 1, 255)), (3 + 2 * 4 + 4) * kPixels);
  EXPECT_EQ(cost("", Header(Format::kWebp, 1000, 1000)), (3 + 4) * kPixels);
}

TEST(PictureCostTest, DrawingCountsWhatIsDecodedAgain) {
  const PictureCost again{.bytes = 1'000, .heavy = false};
  EXPECT_EQ(DrawCost({100, 100}, again).bytes, 1'000U + 6 * 100 * 100);
  EXPECT_FALSE(DrawCost({1920, 1080}, {}).heavy);
  EXPECT_TRUE(DrawCost({4000, 3000}, {}).heavy);
  EXPECT_TRUE(DrawCost({100, 100}, {.bytes = 0, .heavy = true}).heavy);
}

TEST(PictureCostTest, OnlyJsonIsParsed) {
  fcgi::Request request;
  const std::string body(20'000'000, ' ');
  request.body = body;
  request.content_type = "image/png";
  EXPECT_FALSE(ReadingCost(request).heavy);
  request.content_type = "application/json; charset=utf-8";
  EXPECT_TRUE(ReadingCost(request).heavy);
  EXPECT_EQ(ReadingCost(request).bytes, 40'000'000U);
  request.body = request.body.substr(0, 1'000'000);
  EXPECT_FALSE(ReadingCost(request).heavy);
}

}  // namespace
}  // namespace inferpool::predict
