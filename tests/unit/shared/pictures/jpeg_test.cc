// Which blemishes of a JPEG leave the picture whole, and which lose pixels.
#include "shared/pictures/jpeg.h"

#include <gtest/gtest.h>

#include <opencv2/core.hpp>
#include <string>

#include "shared/pictures/decode.h"
#include "tests/unit/shared/pictures/crafted.h"
#include "tests/unit/shared/pictures/data.h"

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

constexpr unsigned kDht = 0xc4;
constexpr unsigned kRestart0 = 0xd0;
constexpr unsigned kRestart7 = 0xd7;
constexpr unsigned kEoi = 0xd9;
constexpr unsigned kSos = 0xda;
constexpr unsigned kDqt = 0xdb;
constexpr unsigned kApp0 = 0xe0;
const std::string kEnd = "\xff\xd9";

void ExpectSame(const std::string& bytes, const std::string& sound) {
  const auto expected = Decoded(sound);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto picture = Decoded(bytes);
  ASSERT_TRUE(picture.ok()) << picture.status();
  ASSERT_EQ(picture->size(), expected->size());
  EXPECT_EQ(cv::norm(*picture, *expected, cv::NORM_INF), 0);
}

void ExpectDamaged(const std::string& bytes) {
  EXPECT_EQ(Decoded(bytes).status().code(), absl::StatusCode::kDataLoss) << bytes.size();
}

std::string Baseline() {
  return ReadData("baseline.jpg");
}

std::string Progressive() {
  return EncodedJpeg(Scene({120, 90}),
                     [](jpeg_compress_struct& jpeg) { jpeg_simple_progression(&jpeg); });
}

// The components in a scan each.
std::string InThreeScans() {
  return EncodedJpeg(Scene({60, 40}), [](jpeg_compress_struct& jpeg) {
    static const jpeg_scan_info kScans[] = {
        {1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    jpeg.scan_info = kScans;
    jpeg.num_scans = 3;
  });
}

// 48 intervals of 3 units of 16 x 16 pixels.
std::string Restarts() {
  return EncodedJpeg(Scene({192, 192}),
                     [](jpeg_compress_struct& jpeg) { jpeg.restart_interval = 3; });
}

std::string Arithmetic() {
  return EncodedJpeg(Scene({64, 48}), [](jpeg_compress_struct& jpeg) { jpeg.arith_code = TRUE; });
}

std::string WithoutEnd(const std::string& jpeg) {
  return jpeg.substr(0, Find(jpeg, kEoi).begin);
}

// Spectral selection, and both bit positions in one byte (ITU-T T.81, B.2.3).
std::string WithScanParameters(std::string jpeg, const std::string& three_bytes) {
  return jpeg.replace(Find(jpeg, kSos).end - 3, 3, three_bytes);
}

TEST(JpegTest, ScanParametersOfASequentialPictureDoNotMatter) {
  for (const std::string& parameters : {"\0\0\0"s, "\1\x3f\0"s, "\0\x3f\x10"s}) {
    ExpectSame(WithScanParameters(Baseline(), parameters), Baseline());
  }
}

TEST(JpegTest, BytesBetweenSegmentsDoNotMatter) {
  const std::string sound = Baseline();
  for (const unsigned marker : {kDqt, 0xc0U, kDht, kSos, kEoi}) {
    SCOPED_TRACE(marker);
    const std::string stray = Inserted(sound, Find(sound, marker).begin, "\0\x12\x34"s);
    ExpectSame(stray, sound);
    ExpectSame(Inserted(stray, Find(stray, kEoi).begin, "xyz"), sound);
  }
  const std::string scans = Progressive();
  ExpectSame(Inserted(scans, Find(scans, kSos, 2).begin, "abc"), scans);
}

TEST(JpegTest, UnknownVersionsAndTransformsDoNotMatter) {
  const std::string sound = Baseline();
  const std::size_t version = Find(sound, kApp0).begin + 9;
  for (const std::string& unknown : {"\0\0"s, "\2\1"s}) {
    ExpectSame(std::string(sound).replace(version, 2, unknown), sound);
  }
  const std::string bare = Without(sound, kApp0, kApp0);
  for (const char transform : {'\3', '\x44'}) {
    ExpectSame(Inserted(bare, 2,
                        "\xff\xee\0\x0e"
                        "Adobe\0\x64\0\0\0\0"s +
                            transform),
               sound);
  }
}

TEST(JpegTest, WhateverFollowsTheLastRowDoesNotMatter) {
  for (const std::string& sound : {Baseline(), Progressive(), InThreeScans(), Restarts()}) {
    const std::string bare = WithoutEnd(sound);
    ExpectSame(bare, sound);
    ExpectSame(bare + std::string(3000, '\0'), sound);
    ExpectSame(bare + "SEFH\xff\x48 and so on", sound);   // a reserved marker
    ExpectSame(bare + sound, sound);                      // a second picture
    ExpectSame(bare + "\xff\xdb\xff\xff" + kEnd, sound);  // a segment that is cut off
    ExpectSame(bare + "\xff\xd1 stray \xff\xd2" + kEnd, sound);
    ExpectSame(sound + "SEFH\xff\x48" + sound, sound);
  }
}

TEST(JpegTest, ASegmentShorterThanItsLengthDoesNotMatter) {
  const std::string sound = Baseline();
  for (const std::string& segment :
       {"\xff\xe5\0\0"s, "\xff\xe5\0\1"s, "\xff\xfe\0\0"s, "\xff\xe1\0\1"s}) {
    ExpectSame(Inserted(sound, Find(sound, kDqt).begin, segment), sound);
  }
  ExpectDamaged(Inserted(sound, Find(sound, kSos).begin, "\xff\xc4\0\1"s));
}

TEST(JpegTest, ARestartMarkersWrongNumberDoesNotMatterFarOff) {
  const std::string sound = Restarts();
  for (const unsigned found : {3U, 4U, 5U}) {
    std::string wrong = sound;
    wrong[Find(sound, kRestart0, 1).begin + 1] = static_cast<char>(kRestart0 + found);
    ExpectSame(wrong, sound);
    // But the intervals between are not lost unnoticed.
    const std::size_t begin = Find(sound, kRestart0, 1).begin;
    ExpectDamaged(sound.substr(0, begin) + sound.substr(Find(sound, kRestart0 + found, 1).begin));
    ExpectDamaged(sound.substr(0, begin) +
                  sound.substr(Find(sound, kRestart0 + found, 1).begin - 2));
  }
}

TEST(JpegTest, ThePlaceOfRestartMarkersDoesNotMatter) {
  const std::string sound = Restarts();
  const std::size_t marker = Find(sound, kRestart0 + 1).begin;
  ExpectSame(Inserted(sound, marker, "some bytes"), sound);
  ExpectSame(Inserted(sound, marker, "\xff\xff\xff"), sound);
  const std::string none = Baseline();
  ExpectSame(Inserted(none, Find(none, kSos).begin, "\xff\xdd\0\4\xea\x60"s), none);
}

TEST(JpegTest, MissingHuffmanTablesAreTheStandardOnes) {
  const std::string sound = EncodedJpeg(Scene({88, 72}));
  ExpectSame(Without(sound, kDht, kDht), sound);
}

TEST(JpegTest, WithoutQuantisationTablesThereIsNoPicture) {
  const std::string sound = Baseline();
  ExpectDamaged(Without(sound, kDqt, kDqt));
  std::string another = sound;
  another[Find(sound, kDqt).begin + 4] = '\3';  // the table's number
  ExpectDamaged(another);
}

TEST(JpegTest, ACutScanIsDamage) {
  for (const std::string& sound : {Baseline(), Progressive(), InThreeScans(), Restarts()}) {
    for (const double part : {0.1, 0.6, 0.9}) {
      const std::string cut = sound.substr(0, WithinScan(sound, part));
      ExpectDamaged(cut);
      ExpectDamaged(cut + kEnd);
      ExpectDamaged(WithScanParameters(cut + kEnd, "\0\0\0"s));
      ExpectDamaged(Inserted(cut, Find(cut, kDqt).begin, "\0\0"s));
    }
    ExpectDamaged(sound.substr(0, Find(sound, kEoi).begin - 1));
  }
}

TEST(JpegTest, LostRestartMarkersAreDamage) {
  const std::string sound = Restarts();
  ExpectDamaged(Without(sound, kRestart0, kRestart7));
  ExpectDamaged(Without(sound, kRestart0, kRestart0));
  // After eight lost ones the numbers fit again.
  std::string eight = sound;
  for (int i = 0; i < 8; ++i) {
    const Segment marker = Find(eight, kRestart0 + static_cast<unsigned>(i));
    eight.erase(marker.begin, 2);
  }
  ExpectDamaged(eight);
}

TEST(JpegTest, AnEndAtARestartMarkerIsDamage) {
  const std::string sound = Restarts();
  for (std::size_t nth = 0; nth < 5; ++nth) {
    const Segment marker = Find(sound, kRestart0 + 2, nth);
    for (const std::size_t length : {marker.begin, marker.begin + 1, marker.end}) {
      ExpectDamaged(sound.substr(0, length));
      ExpectDamaged(sound.substr(0, length) + kEnd);
      ExpectDamaged(sound.substr(0, length) + "stray" + kEnd);
    }
  }
}

TEST(JpegTest, AComponentWithoutAScanIsDamage) {
  const std::string sound = InThreeScans();
  for (std::size_t nth = 1; nth < 3; ++nth) {
    const std::string cut = sound.substr(0, Find(sound, kSos, nth).begin);
    ExpectDamaged(cut);
    ExpectDamaged(cut + kEnd);
    ExpectDamaged(cut + "SEFH\xff\x48");
  }
}

TEST(JpegTest, ALostScanOfAProgressivePictureIsDamage) {
  const std::string sound = Progressive();
  for (std::size_t nth = 1; nth < 10; ++nth) {
    const std::string cut = sound.substr(0, Find(sound, kSos, nth).begin);
    ExpectDamaged(cut);
    ExpectDamaged(cut + "SEFH\xff\x48");
  }
}

TEST(JpegTest, AnEncoderMayLeaveOutTheLastBits) {
  const std::string sound = EncodedJpeg(Scene({60, 40}), [](jpeg_compress_struct& jpeg) {
    static const jpeg_scan_info kScans[] = {{3, {0, 1, 2}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 1}};
    jpeg.scan_info = kScans;
    jpeg.num_scans = 2;
  });
  EXPECT_TRUE(Decoded(sound).ok());
  ExpectDamaged(WithoutEnd(sound));
}

TEST(JpegTest, AnArithmeticCodedPictureMustNotEndEarly) {
  const std::string sound = Arithmetic();
  ASSERT_TRUE(Decoded(sound).ok());
  ExpectSame(Inserted(sound, Find(sound, kApp0).end, "stray"), sound);
  for (const double part : {0.1, 0.5, 0.9}) {
    ExpectDamaged(sound.substr(0, WithinScan(sound, part)));
  }
}

}  // namespace
}  // namespace inferpool::vision
