#include "shared/pictures/jpeg_segments.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

namespace inferpool::vision {
namespace {

using namespace std::string_literals;
using State = JpegSegment::State;

struct Seen {
  std::uint32_t marker;
  State state;
  std::string data;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> Walk(const std::string& behind_start) {
  // On the heap and of its exact length, so that the address sanitizer sees a read past the end.
  const std::string jpeg = "\xff\xd8"s + behind_start;
  std::vector<Seen> all;
  JpegSegments segments(jpeg);
  while (const auto segment = segments.Next()) {
    all.push_back({segment->marker, segment->state, std::string(segment->data)});
  }
  return all;
}

TEST(JpegSegmentsTest, GivesEachSegmentWithItsData) {
  EXPECT_EQ(Walk("\xff\xe1\0\5abc\xff\xdb\0\2\xff\xd9"s),
            (std::vector<Seen>{{0xe1, State::kWhole, "abc"},
                               {0xdb, State::kWhole, ""},
                               {JpegSegment::kEndOfImage, State::kWhole, ""}}));
}

TEST(JpegSegmentsTest, SkipsWhatBelongsToNoSegment) {
  EXPECT_EQ(Walk("junk\xff\xff\xff\xda\0\3.coded\xff\0data\xff\xd0more\xff\1\xff\xd7\xff\xd8"s),
            (std::vector<Seen>{{JpegSegment::kStartOfScan, State::kWhole, "."},
                               {JpegSegment::kStartOfImage, State::kWhole, ""}}));
}

TEST(JpegSegmentsTest, TellsASegmentThatIsNotWhole) {
  const std::vector<Seen> cut{{0xe1, State::kCutOff, ""}};
  EXPECT_EQ(Walk("\xff\xe1"s), cut);
  EXPECT_EQ(Walk("\xff\xe1\0"s), cut);
  EXPECT_EQ(Walk("\xff\xe1\0\5ab"s), cut);
  EXPECT_EQ(Walk("\xff\xe1\0\5\xff\xd9"s), cut) << "its data is no marker";
  EXPECT_EQ(Walk("\xff\xe1\0\1\xff\xd9"s),
            (std::vector<Seen>{{0xe1, State::kBadLength, ""},
                               {JpegSegment::kEndOfImage, State::kWhole, ""}}));
}

TEST(JpegSegmentsTest, EndsWithTheBytes) {
  EXPECT_TRUE(Walk("").empty());
  EXPECT_TRUE(Walk("\xff").empty());
  EXPECT_TRUE(Walk("\xff\xff\xff").empty());
  JpegSegments nothing("");
  EXPECT_FALSE(nothing.Next().has_value());
}

}  // namespace
}  // namespace inferpool::vision
