#include "shared/base/utf8.h"

#include <gtest/gtest.h>

namespace inferpool {
namespace {

TEST(Utf8Test, KnowsWhatIsWellFormed) {
  for (const char* text : {"", "cat", "caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x88"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* text :
       {"caf\xe9", "caf\xc3", "\xa9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xe2\x82"
        "x",
        "\xff"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

TEST(Utf8Test, IsCutBetweenCharacters) {
  EXPECT_EQ(Utf8Text("caf\xc3\xa9s", 100), "caf\xc3\xa9s");
  EXPECT_EQ(Utf8Text("caf\xc3\xa9s", 6), "caf\xc3\xa9s");
  EXPECT_EQ(Utf8Text("caf\xc3\xa9s", 5), "caf\xc3\xa9");
  EXPECT_EQ(Utf8Text("caf\xc3\xa9s", 4), "caf");
  EXPECT_EQ(Utf8Text("\xf0\x9f\x90\x88", 3), "");
  EXPECT_EQ(Utf8Text("cat", 0), "");
}

TEST(Utf8Test, BytesThatAreNoCharacterAreReplacedWithinTheLimit) {
  EXPECT_EQ(Utf8Text("caf\xe9s", 100), "caf\xef\xbf\xbds");
  EXPECT_EQ(Utf8Text("caf\xe9s", 5), "caf");
  EXPECT_EQ(Utf8Text("\xc3", 3), "\xef\xbf\xbd");
}

}  // namespace
}  // namespace inferpool
