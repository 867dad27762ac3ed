#include "shared/pictures/exif.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

// One directory of one entry: the orientation, a SHORT.
std::string LittleEndian(char value) {
  return "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0"s + value + "\0\0\0\0\0\0\0"s;
}
std::string BigEndian(char value) {
  return "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0"s + value + "\0\0\0\0\0\0"s;
}

TEST(ExifTest, ReadsBothByteOrders) {
  for (char value = 1; value <= 8; ++value) {
    EXPECT_EQ(ExifOrientation(LittleEndian(value)), value);
    EXPECT_EQ(ExifOrientation(BigEndian(value)), value);
  }
}

TEST(ExifTest, AnAbsurdOrientationIsUpright) {
  EXPECT_EQ(ExifOrientation(LittleEndian(0)), 1);
  EXPECT_EQ(ExifOrientation(LittleEndian(9)), 1);
  EXPECT_EQ(ExifOrientation(BigEndian('\xff')), 1);
  std::string as_long = LittleEndian(6);
  as_long[12] = 4;
  EXPECT_EQ(ExifOrientation(as_long), 1);
}

TEST(ExifTest, WhatStandsBehindTheCountedEntriesIsNoEntry) {
  std::string none = LittleEndian(6);
  none[8] = 0;
  EXPECT_EQ(ExifOrientation(none), 1);
  // An entry of another tag, and the orientation behind it.
  std::string two = LittleEndian(6);
  two.insert(10, "\x11\1\3\0\1\0\0\0\3\0\0\0"s);
  EXPECT_EQ(ExifOrientation(two), 1);
  two[8] = 2;
  EXPECT_EQ(ExifOrientation(two), 6);
}

TEST(ExifTest, AnImpossibleEntryDoesNotHideAnother) {
  for (const std::string& first : {"\x12\1\3\0\1\0\0\0\x09\0\0\0"s, "\x12\1\4\0\1\0\0\0\3\0\0\0"s,
                                   "\x12\1\3\0\2\0\0\0\3\0\3\0"s}) {
    std::string two = LittleEndian(6);
    two.insert(10, first);
    two[8] = 2;
    EXPECT_EQ(ExifOrientation(two), 6);
  }
  std::string two = LittleEndian(6);
  two.insert(10, "\x12\1\3\0\1\0\0\0\3\0\0\0"s);
  two[8] = 2;
  EXPECT_EQ(ExifOrientation(two), 3) << "the first good one counts";
}

TEST(ExifTest, DamageIsUpright) {
  const std::string whole = LittleEndian(6);
  for (std::size_t length = 0; length < 20; ++length) {
    EXPECT_EQ(ExifOrientation(std::string(whole, 0, length)), 1) << length;
  }
  std::string far = whole;
  far.replace(4, 4, "\xff\xff\xff\xff");
  EXPECT_EQ(ExifOrientation(far), 1);
  std::string many = whole;
  many.replace(8, 4, "\xff\xff\0\0"s);
  EXPECT_EQ(ExifOrientation(many), 1);
  EXPECT_EQ(ExifOrientation("XX" + whole.substr(2)), 1);
}

}  // namespace
}  // namespace inferpool::vision
