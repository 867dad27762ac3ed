#include "shared/vision/chunks.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

TEST(ChunksTest, WalksPng) {
  const std::string bytes = "signatur\0\0\0\3abcDxyzCRC_\0\0\0\0IENDCRC_"s;
  Chunks chunks = Chunks::OfPng(bytes);
  const auto first = chunks.Next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->type, "abcD");
  EXPECT_EQ(first->data, "xyz");
  const auto second = chunks.Next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->type, "IEND");
  EXPECT_EQ(second->data, "");
  EXPECT_FALSE(chunks.Next());
}

TEST(ChunksTest, WalksWebpOverOddLengths) {
  const std::string bytes = "RIFF\0\0\0\0WEBPabcd\3\0\0\0xyz_efgh\1\0\0\0z"s;
  Chunks chunks = Chunks::OfWebp(bytes);
  const auto first = chunks.Next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->type, "abcd");
  EXPECT_EQ(first->data, "xyz");
  const auto second = chunks.Next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->type, "efgh");
  EXPECT_EQ(second->data, "z");
  EXPECT_FALSE(chunks.Next());
}

TEST(ChunksTest, EndsAtALyingLength) {
  const std::string png =
      "signatur\xff\xff\xff\xff"
      "abcDxyzCRC_"s;
  EXPECT_FALSE(Chunks::OfPng(png).Next());
  const std::string riff = "RIFF\0\0\0\0WEBPabcd\xff\xff\xff\xffxyz_"s;
  EXPECT_FALSE(Chunks::OfWebp(riff).Next());
  EXPECT_FALSE(Chunks::OfPng("short").Next());
}

}  // namespace
}  // namespace inferpool::vision
