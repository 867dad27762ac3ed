#include "shared/access/sha256.h"

#include <gtest/gtest.h>

namespace inferpool {
namespace {

TEST(Sha256Test, ItIsTheStandards) {  // FIPS 180-4's examples
  EXPECT_EQ(ToHex(Sha256Of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256Of("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256Test, HexIsReadBack) {
  const Sha256 digest = Sha256Of("abc");
  EXPECT_EQ(ParseSha256(ToHex(digest)), digest);
  EXPECT_EQ(ParseSha256("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
            digest);
  std::string bad = ToHex(digest);
  for (const char* text : {"", "ba78", "0x"}) EXPECT_FALSE(ParseSha256(text)) << text;
  for (const char c : {'g', ' ', '-', '+'}) {
    bad[17] = c;
    EXPECT_FALSE(ParseSha256(bad)) << bad;
  }
  EXPECT_FALSE(ParseSha256(ToHex(digest) + "00"));
}

TEST(Sha256Test, DigestsAreComparedWhole) {
  const Sha256 digest = Sha256Of("abc");
  EXPECT_TRUE(EqualInConstantTime(digest, Sha256Of("abc")));
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    Sha256 other = digest;
    other.bytes[i] ^= 1;
    EXPECT_FALSE(EqualInConstantTime(digest, other)) << i;
  }
}

}  // namespace
}  // namespace inferpool
