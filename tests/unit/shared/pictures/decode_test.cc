#include "shared/pictures/decode.h"

#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "shared/pictures/jpeg.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

absl::StatusOr<cv::Mat> ReadAndDecode(const std::string& bytes) {
  const auto header = ReadHeader(bytes);
  if (!header.ok()) {
    return header.status();
  }
  return Decode(bytes, *header);
}

int LargestDifference(const cv::Mat& picture, const std::string& expected) {
  EXPECT_EQ(picture.total() * picture.elemSize(), expected.size());
  int largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const int difference = int{picture.data[i]} - int{static_cast<unsigned char>(expected[i])};
    largest = std::max(largest, std::abs(difference));
  }
  return largest;
}

TEST(DecodeTest, EveryKindComesOutUprightInTheRightColours) {
  for (const KnownPicture& known : KnownPictures()) {
    SCOPED_TRACE(known.name);
    const std::string bytes = ReadData(known.name);
    const auto picture = ReadAndDecode(bytes);
    ASSERT_TRUE(picture.ok()) << picture.status();
    EXPECT_EQ(picture->type(), CV_8UC3);
    EXPECT_TRUE(picture->isContinuous());
    EXPECT_EQ(picture->size(), UprightSize(*ReadHeader(bytes)));
    EXPECT_LE(LargestDifference(*picture, ReadData(known.name + ".bgr")), known.tolerance);
  }
}

TEST(DecodeGreyTest, EveryKindHasTheBrightnessOfItsColours) {
  for (const KnownPicture& known : KnownPictures()) {
    SCOPED_TRACE(known.name);
    const std::string bytes = ReadData(known.name);
    const Header header = *ReadHeader(bytes);
    cv::Mat expected;
    cv::cvtColor(*Decode(bytes, header), expected, cv::COLOR_BGR2GRAY);
    for (const int reduction : {1, 8}) {
      const auto grey = DecodeGrey(bytes, header, reduction);
      ASSERT_TRUE(grey.ok()) << grey.status();
      ASSERT_EQ(grey->type(), CV_8UC1);
      ASSERT_EQ(grey->size(), Reduced(UprightSize(header), reduction));
      cv::Mat small;
      cv::resize(expected, small, grey->size(), 0, 0, cv::INTER_AREA);
      const double off = cv::norm(*grey, small, cv::NORM_L1) / static_cast<double>(grey->total());
      EXPECT_LE(off, reduction == 1 ? 3 : 12) << "levels on average";
    }
  }
}

TEST(DecodeGreyTest, WhatIsDamagedIsDataLoss) {
  for (const char* name : {"baseline.jpg", "progressive.jpg"}) {
    const std::string whole = ReadData(name);
    const Header header = *ReadHeader(whole);
    const auto grey = DecodeGrey(whole.substr(0, whole.size() / 2), header, 8);
    EXPECT_EQ(grey.status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(DecodeTest, ACutPictureIsWholeOrDataLoss) {
  for (const KnownPicture& known : KnownPictures()) {
    SCOPED_TRACE(known.name);
    const std::string whole = ReadData(known.name);
    const Header header = *ReadHeader(whole);
    const cv::Mat expected = *Decode(whole, header);
    std::size_t decoded = 0;
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const std::string cut(whole, 0, length);
      const auto picture = Decode(cut, header);
      EXPECT_EQ(picture.ok(), ReadAndDecode(cut).ok()) << length;
      if (picture.ok()) {
        ++decoded;
        EXPECT_EQ(cv::norm(*picture, expected, cv::NORM_INF), 0) << length;
      } else {
        EXPECT_EQ(picture.status().code(), absl::StatusCode::kDataLoss) << length;
      }
    }
    if (known.name.starts_with("animated")) continue;  // where later frames may be cut off
    // Of a JPEG the end-of-image marker may be cut, of a PNG the IEND chunk and the checksums of
    // the data, of a GIF the end of its codes and what follows, of a WebP nothing.
    const std::string kind = known.name.substr(known.name.rfind('.'));
    const std::size_t least = kind == ".png" ? 20 : kind == ".webp" ? 0 : 2;
    EXPECT_GE(decoded, least);
    EXPECT_LE(decoded, kind == ".jpg" || kind == ".webp" ? least : least + 4);
  }
}

TEST(DecodeTest, BytesBehindThePictureDoNotMatter) {
  for (const char* name :
       {"baseline.jpg", "rgb.png", "lossless.webp", "animated.webp", "still.gif"}) {
    EXPECT_TRUE(ReadAndDecode(ReadData(name) + "trailing bytes").ok()) << name;
  }
}

TEST(DecodeTest, SurplusBytesBeforeAJpegsEndDoNotMatter) {
  std::string bytes = ReadData("baseline.jpg");
  bytes.insert(bytes.size() - 2, "\1\2\3");
  const auto picture = ReadAndDecode(bytes);
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_LE(LargestDifference(*picture, ReadData("baseline.jpg.bgr")), 2);
}

TEST(DecodeTest, ADamagedBodyIsDataLoss) {
  std::string jpeg = ReadData("baseline.jpg");
  jpeg.replace(jpeg.size() - 200, 60, 60, '\0');
  EXPECT_EQ(ReadAndDecode(jpeg).status().code(), absl::StatusCode::kDataLoss);
  std::string restarts = ReadData("restarts.jpg");
  const std::size_t marker = restarts.find("\xff\xd1");
  ASSERT_NE(marker, std::string::npos);
  restarts[marker + 1] = '\xd3';  // as if two intervals were lost
  EXPECT_EQ(ReadAndDecode(restarts).status().code(), absl::StatusCode::kDataLoss);
  for (const char* name : {"rgb.png", "interlaced.png"}) {
    std::string png = ReadData(name);
    png[png.size() / 2] = static_cast<char>(png[png.size() / 2] ^ 1);
    EXPECT_EQ(ReadAndDecode(png).status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(DecodeTest, AGoodPictureDecodesAfterEveryBadOne) {
  const std::string good = ReadData("baseline.jpg");
  const Header header = *ReadHeader(good);
  constexpr std::size_t kEndMarker = 2;
  for (std::size_t length = 0; length < good.size() - kEndMarker; ++length) {
    EXPECT_FALSE(Decode(good.substr(0, length), header).ok());
    const auto picture = Decode(good, header);
    ASSERT_TRUE(picture.ok()) << "after a cut at " << length << ": " << picture.status();
  }
}

std::string Compressed(const cv::Mat& pixels, int pixel_format, int subsampling) {
  const std::unique_ptr<void, int (*)(tjhandle)> encoder(tjInitCompress(), tjDestroy);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(encoder.get(), pixels.data, pixels.cols, 0, pixels.rows, pixel_format, &out,
                        &size, subsampling, 98, 0),
            0);
  std::string bytes(reinterpret_cast<char*>(out), size);
  tjFree(out);
  return bytes;
}

TEST(DecodeTest, YcckIsCmykInAnotherGuise) {
  // Inverted: 200 of 255 light through each colour's ink, 180 through the black.
  const cv::Mat light(16, 16, CV_8UC4, cv::Scalar(200, 150, 100, 180));
  const auto picture = ReadAndDecode(Compressed(light, TJPF_CMYK, TJSAMP_420));
  ASSERT_TRUE(picture.ok()) << picture.status();
  const auto pixel = picture->at<cv::Vec3b>(8, 8);
  EXPECT_NEAR(pixel[0], 100 * 180 / 255, 3);
  EXPECT_NEAR(pixel[1], 150 * 180 / 255, 3);
  EXPECT_NEAR(pixel[2], 200 * 180 / 255, 3);
}

TEST(DecodeTest, EveryChromaSubsamplingDecodes) {
  const cv::Mat colour(20, 37, CV_8UC3, cv::Scalar(40, 90, 200));
  for (const int subsampling :
       {TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_GRAY, TJSAMP_440, TJSAMP_411}) {
    const auto picture = ReadAndDecode(Compressed(colour, TJPF_BGR, subsampling));
    ASSERT_TRUE(picture.ok()) << picture.status();
    const int red = subsampling == TJSAMP_GRAY ? 117 : 200;  // 0.299 R + 0.587 G + 0.114 B
    EXPECT_NEAR(picture->at<cv::Vec3b>(19, 36)[2], red, 3) << subsampling;
  }
}

// Where the first image begins, behind the screen's colour table.
std::size_t FirstGifFrame(const std::string& gif) {
  return gif.find(',', 13 + (std::size_t{6} << (gif[10] & 7)));
}

TEST(DecodeTest, OnlyTheFirstFrameOfAnAnimationCounts) {
  for (const char* name : {"animated_offset.webp", "animated.gif"}) {
    const std::string whole = ReadData(name);
    std::string first = whole;
    const std::size_t frame = first.starts_with("RIFF") ? first.find("ANMF") : FirstGifFrame(first);
    for (std::size_t at = frame + 50; at < frame + 80; ++at) first[at] = '\x55';
    EXPECT_EQ(ReadAndDecode(first).status().code(), absl::StatusCode::kDataLoss) << name;
    std::string last = whole;
    for (std::size_t at = last.size() - 40; at < last.size() - 10; ++at) last[at] = '\x55';
    EXPECT_TRUE(ReadAndDecode(last).ok()) << name << ReadAndDecode(last).status();
  }
}

TEST(DecodeTest, AGifsColoursMayBeFewerThanItsPixelsName) {
  // Two colours in the table, and codes of 3 bits for 3 pixels: clear 4, then 0, 1 and 3, end 5.
  const std::string gif =
      "GIF89a\3\0\1\0\x80\0\0\x0a\x14\x1e\x28\x32\x3c,\0\0\0\0\3\0\1\0\0\2\2\x44\x56\0;"s;
  const auto picture = ReadAndDecode(gif);
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(picture->at<cv::Vec3b>(0, 0), cv::Vec3b(30, 20, 10));
  EXPECT_EQ(picture->at<cv::Vec3b>(0, 1), cv::Vec3b(60, 50, 40));
  EXPECT_EQ(picture->at<cv::Vec3b>(0, 2), cv::Vec3b(0, 0, 0));
}

TEST(DecodeTest, AGifWithoutColoursOrWithTooFewPixelsIsDataLoss) {
  const std::string colourless = "GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;"s;
  EXPECT_EQ(ReadAndDecode(colourless).status().code(), absl::StatusCode::kDataLoss);
  std::string taller = ReadData("still.gif");
  const std::size_t frame = FirstGifFrame(taller);
  ASSERT_EQ(taller[frame + 7], 14);
  taller[frame + 7] = 15;
  EXPECT_EQ(ReadAndDecode(taller).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DecodeTest, AnotherSizeThanTheHeadersIsDataLoss) {
  for (const char* name : {"baseline.jpg", "rgb.png", "lossless.webp"}) {
    const std::string bytes = ReadData(name);
    Header header = *ReadHeader(bytes);
    header.width += 1;
    EXPECT_EQ(Decode(bytes, header).status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(DecodeTest, FlippedBitsNeverCrash) {
  std::mt19937 random(7);
  const std::vector<KnownPicture> pictures = KnownPictures();
  int decoded = 0;
  for (int round = 0; round < 200; ++round) {
    for (const KnownPicture& known : pictures) {
      std::string bytes = ReadData(known.name);
      for (std::size_t flips = 1 + random() % 4; flips > 0; --flips) {
        char& byte = bytes[random() % bytes.size()];
        byte = static_cast<char>(byte ^ 1 << random() % 8);
      }
      const auto header = ReadHeader(bytes);
      // As the callers do: sizes above a limit are not decoded.
      if (header.ok() && std::int64_t{header->width} * header->height < 4'000'000) {
        const auto picture = Decode(bytes, *header);
        decoded += picture.ok() ? 1 : 0;
        if (picture.ok()) {
          EXPECT_EQ(picture->size(), UprightSize(*header));
        }
      }
    }
  }
  EXPECT_GT(decoded, 0);
}

TEST(DecodeTest, ThreadsDecodeSideBySideAndAfterFailures) {
  const std::string good = ReadData("progressive.jpg");
  const std::string bad = good.substr(0, good.size() / 2);
  const std::string expected = ReadData("progressive.jpg.bgr");
  std::vector<std::thread> threads;
  std::vector<int> failures(4);
  for (int& failed : failures) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto picture = ReadAndDecode(good);
        failed += !picture.ok() || LargestDifference(*picture, expected) > 2;
        failed += ReadAndDecode(bad).ok();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failures, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace inferpool::vision
