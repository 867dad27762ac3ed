// Which blemishes of a PNG leave the picture whole, and which lose pixels.
#include "shared/pictures/png.h"

#include <gtest/gtest.h>

#include <opencv2/core.hpp>
#include <string>

#include "shared/pictures/decode.h"
#include "tests/unit/shared/pictures/crafted.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

constexpr std::size_t kBehindHeader = 33;
constexpr std::size_t kEnd = 12;  // bytes of an IEND chunk

const cv::Size kSize(80, 50);

void ExpectScene(const std::string& bytes) {
  const auto picture = Decoded(bytes);
  ASSERT_TRUE(picture.ok()) << picture.status();
  ASSERT_EQ(picture->size(), kSize);
  EXPECT_EQ(cv::norm(*picture, Scene(kSize), cv::NORM_INF), 0);
}

void ExpectDamaged(const std::string& bytes) {
  EXPECT_EQ(Decoded(bytes).status().code(), absl::StatusCode::kDataLoss);
}

// The chunk with its last byte, which is of its checksum, changed.
std::string WithWrongChecksum(std::string chunk) {
  chunk.back() = static_cast<char>(chunk.back() ^ 1);
  return chunk;
}

// Where the chunk's length stands.
std::size_t Begin(const std::string& png, const std::string& type) {
  return png.find(type) - 4;
}

std::string Png() {
  return EncodedPng(Scene(kSize));
}

// Row after row with an equal one 16 rows before it, further back than a window of 256 bytes.
std::string WithSmallWindow(std::string data) {
  return data.replace(0, 2, "\x08\x1d");
}

TEST(PngTest, WhatFollowsTheDataDoesNotMatter) {
  const std::string png = Png();
  ExpectScene(png);
  ExpectScene(png.substr(0, png.size() - kEnd));
  ExpectScene(png.substr(0, png.size() - 3));
  ExpectScene(WithWrongChecksum(png));
  ExpectScene(png.substr(0, png.size() - kEnd) +
              "\0\0\x7f\xff"
              "fdAT cut off"s);
}

TEST(PngTest, TheEndOfTheCompressedDataDoesNotMatter) {
  constexpr std::size_t kAdler = 4;
  ExpectScene(EncodedPng(
      Scene(kSize), [](const std::string& data) { return data.substr(0, data.size() - kAdler); }));
  ExpectScene(EncodedPng(Scene(kSize), [](std::string data) {
    data.back() = static_cast<char>(data.back() ^ 1);
    return data;
  }));
  ExpectScene(EncodedPng(Scene(kSize), [](const std::string& data) { return data + "surplus"; }));
  ExpectScene(EncodedPng(Scene(kSize), WithSmallWindow));

  const std::string interlaced = ReadData("interlaced.png");
  const std::size_t data = Begin(interlaced, "IDAT");
  const std::size_t length = interlaced.find("IEND") - 4 - 12 - data;
  const std::string cut =
      interlaced.substr(0, data) + PngChunk("IDAT", interlaced.substr(data + 8, length - kAdler));
  const auto picture = Decoded(cut);
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(cv::norm(*picture, *Decoded(interlaced), cv::NORM_INF), 0);
}

TEST(PngTest, AFileMayEndWhereverItsRowsAreAllThere) {
  constexpr std::size_t kChecksum = 4;
  constexpr std::size_t kAdler = 4;
  const std::string png = Png();
  const std::size_t data_end = png.size() - kEnd - kChecksum;
  for (std::size_t length = data_end - kAdler; length < png.size(); ++length) {
    SCOPED_TRACE(length);
    ExpectScene(png.substr(0, length));
  }
  // A shorter one is whole or refused, and never another picture.
  for (std::size_t length = 0; length < data_end - kAdler; ++length) {
    const auto picture = Decoded(png.substr(0, length));
    if (picture.ok()) {
      EXPECT_EQ(cv::norm(*picture, Scene(kSize), cv::NORM_INF), 0) << length;
      EXPECT_GT(length, data_end - kAdler - 4) << "more than the end of the code is missing";
    } else if (length >= 4) {
      EXPECT_EQ(picture.status().code(), absl::StatusCode::kDataLoss) << length;
    }
  }
  // The same in several chunks, of which the last one ends within its data.
  const std::size_t begin = Begin(png, "IDAT");
  const std::string data = png.substr(begin + 8, data_end - begin - 8);
  const std::string parts = png.substr(0, begin) + PngChunk("IDAT", data.substr(0, 100)) +
                            PngChunk("IDAT", data.substr(100));
  ExpectScene(parts);
  ExpectScene(parts.substr(0, parts.size() - kChecksum - kAdler));
  ExpectScene(parts.substr(0, parts.size() - 1));
  ExpectDamaged(parts.substr(0, parts.size() - kChecksum - kAdler - 100));
}

TEST(PngTest, OtherChunksAreSkippedUnread) {
  const std::string text = PngChunk("zTXt", "name\0\0no compressed data"s);
  const std::string profile = PngChunk("iCCP", "name\0\0neither"s);
  ExpectScene(Inserted(Png(), kBehindHeader, text + profile));
  ExpectScene(Inserted(Png(), kBehindHeader, WithWrongChecksum(text)));
}

TEST(PngTest, MissingRowsAreDamage) {
  const std::string png = Png();
  ExpectDamaged(png.substr(0, png.size() / 2));
  ExpectDamaged(png.substr(0, kBehindHeader) + png.substr(png.size() - kEnd));
  ExpectDamaged(EncodedPng(
      Scene(kSize), [](const std::string& data) { return data.substr(0, data.size() * 9 / 10); }));
  std::string taller = EncodedPng(Scene({kSize.width, kSize.height - 1}));
  const std::string head = PngChunk("IHDR", "\0\0\0\x50\0\0\0\x32\x08\2\0\0\0"s);
  ExpectDamaged(taller.replace(8, head.size(), head));
}

TEST(PngTest, AWrongChecksumOfWhatThePixelsComeFromIsDamage) {
  const std::string png = Png();
  const std::size_t end = png.size() - kEnd;
  ExpectDamaged(WithWrongChecksum(png.substr(0, end)) + png.substr(end));
  ExpectDamaged(WithWrongChecksum(png.substr(0, kBehindHeader)) + png.substr(kBehindHeader));
  std::string colours = ReadData("palette.png");
  const std::size_t checksum = Begin(colours, "IDAT") - 1;
  ASSERT_LT(colours.find("PLTE"), checksum);
  colours[checksum] = static_cast<char>(colours[checksum] ^ 1);
  ExpectDamaged(colours);
}

TEST(PngTest, OrientationCountsBeforeTheDataAndWithItsChecksum) {
  const std::string turned =
      PngChunk("eXIf", "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"s);
  const std::string png = Png();
  EXPECT_EQ(ReadHeader(Inserted(png, kBehindHeader, turned))->orientation, 6);
  ExpectScene(Inserted(png, png.size() - kEnd, turned));
  ExpectScene(Inserted(png, kBehindHeader, WithWrongChecksum(turned)));
}

}  // namespace
}  // namespace inferpool::vision
