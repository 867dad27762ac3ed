#include "shared/pictures/chunks.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace inferpool::vision {
namespace {

using namespace std::string_literals;

using Parts = std::vector<std::pair<std::string, std::string>>;  // types and data

Parts Walk(Chunks chunks) {
  Parts parts;
  while (const auto chunk = chunks.Next()) parts.emplace_back(chunk->type, chunk->data);
  return parts;
}

TEST(ChunksTest, WalksPng) {
  const std::string bytes = "signatur\0\0\0\3abcDxyzCRC_\0\0\0\0IENDCRC_"s;
  EXPECT_EQ(Walk(Chunks::OfPng(bytes)), (Parts{{"abcD", "xyz"}, {"IEND", ""}}));
}

TEST(ChunksTest, KnowsARightChecksumAndWhereAChunkEnds) {
  // The chunk that ends every PNG.
  const std::string bytes = "signatur\0\0\0\0IEND\xae\x42\x60\x82\0\0\0\0IENDCRC_"s;
  Chunks chunks = Chunks::OfPng(bytes);
  EXPECT_TRUE(chunks.Next()->HasRightChecksum());
  EXPECT_EQ(chunks.position(), 20U);
  EXPECT_FALSE(chunks.Next()->HasRightChecksum());
  EXPECT_EQ(chunks.position(), 32U);
}

TEST(ChunksTest, WalksWebpOverOddLengths) {
  const std::string bytes = "RIFF\0\0\0\0WEBPabcd\3\0\0\0xyz_efgh\1\0\0\0z"s;
  EXPECT_EQ(Walk(Chunks::OfWebp(bytes)), (Parts{{"abcd", "xyz"}, {"efgh", "z"}}));
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
