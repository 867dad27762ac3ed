#include "shared/pictures/jpeg_scans.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool {
namespace {

using namespace std::string_literals;

const std::string kStart = "\xff\xd8"s;
const std::string kScan = "\xff\xda\x00\x04..data\xff\x00more\xff\xd0still the same"s;
const std::string kEnd = "\xff\xd9"s;

TEST(JpegScansTest, CountsScansUpToTheEnd) {
  EXPECT_EQ(JpegScans(kStart + kEnd), 0);
  EXPECT_EQ(JpegScans(kStart + kScan + kEnd), 1);
  EXPECT_EQ(JpegScans(kStart + kScan + "\xff\xff\xff\xc4\x00\x02"s + kScan + kScan + kEnd + kScan),
            3);
}

TEST(JpegScansTest, WhatASegmentHoldsIsNoScan) {
  EXPECT_EQ(JpegScans(kStart + "\xff\xe1\x00\x08"s + "\xff\xda\x00\x04.."s + kScan + kEnd), 1);
}

TEST(JpegScansTest, EndsWhereTheBytesDo) {
  const std::string whole = kStart + "\xff\xe0\x00\x03."s + kScan;
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_LE(JpegScans(whole.substr(0, length)), 1);
  }
  EXPECT_EQ(JpegScans(kStart + "\xff\xe0\xff\xff"s + kScan), 0);
  EXPECT_EQ(JpegScans(kStart + "\xff\xe0\x00\x00"s + kScan), 1) << "a length of nothing";
}

}  // namespace
}  // namespace inferpool
