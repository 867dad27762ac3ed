#include "shared/pictures/sniff.h"

#include <gtest/gtest.h>

namespace inferpool::vision {
namespace {

using namespace std::string_view_literals;

TEST(SniffTest, NamesWhatClientsSendByMistake) {
  EXPECT_EQ(GuessForeignFormat(""sv), "empty");
  EXPECT_EQ(GuessForeignFormat("BM6"sv), "BMP");
  EXPECT_EQ(GuessForeignFormat("%PDF-1.7"sv), "PDF");
  EXPECT_EQ(GuessForeignFormat("MM\0*"sv), "TIFF");
  EXPECT_EQ(GuessForeignFormat("\0\0\0\x18"
                               "ftypheic\0\0"sv),
            "HEIC");
  EXPECT_EQ(GuessForeignFormat("\0\0\0\x1c"
                               "ftypavif\0\0"sv),
            "AVIF");
  EXPECT_EQ(GuessForeignFormat("\0\0\0\x1c"
                               "ftypisom\0\0"sv),
            "MP4");
  EXPECT_EQ(GuessForeignFormat("<?xml version=\"1.0\"?>\n<svg width=\"3\"/>"sv), "SVG");
  EXPECT_EQ(GuessForeignFormat("<!DOCTYPE html><p>"sv), "HTML");
  EXPECT_EQ(GuessForeignFormat("{\"image\": \"aGVsbG8=\"}"sv), "text");
}

TEST(SniffTest, UnknownBytesHaveNoName) {
  EXPECT_EQ(GuessForeignFormat("\1\2\3"sv), "");
  EXPECT_EQ(GuessForeignFormat("text with\0a zero"sv), "");
}

}  // namespace
}  // namespace inferpool::vision
