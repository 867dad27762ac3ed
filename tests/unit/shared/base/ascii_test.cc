#include "shared/base/ascii.h"

#include <gtest/gtest.h>

namespace inferpool {
namespace {

TEST(AsciiTest, LettersBecomeSmallAndNothingElseChanges) {
  EXPECT_EQ(LowerCase("AbC-Z@[\xc4"), "abc-z@[\xc4");
  EXPECT_EQ(LowerCase(""), "");
}

TEST(AsciiTest, BlanksAroundAreCutOff) {
  EXPECT_EQ(Trim(" \ta b\t "), "a b");
  EXPECT_EQ(Trim(" \t "), "");
  EXPECT_EQ(Trim("\ra\n"), "\ra\n");
  EXPECT_EQ(Trim("\r a\n", " \t\r\n"), "a");
}

}  // namespace
}  // namespace inferpool
