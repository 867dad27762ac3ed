#include "modelserver/config/ultralytics.h"

#include <gtest/gtest.h>

namespace inferpool::modelserver {
namespace {

using Names = std::vector<std::string>;

TEST(UltralyticsNames, AreReadInClassOrder) {
  EXPECT_EQ(ParseUltralyticsNames("{0: 'person', 1: 'bicycle'}"), (Names{"person", "bicycle"}));
  EXPECT_EQ(ParseUltralyticsNames("{1:\"driver's\",0:'it\\'s'}"), (Names{"it's", "driver's"}));
  EXPECT_EQ(ParseUltralyticsNames("{2: 'c'}"), (Names{"0", "1", "c"}));
  EXPECT_EQ(ParseUltralyticsNames("{0: 'two\nlines'}"), (Names{"two lines"}));
}

TEST(UltralyticsNames, WhatIsNoSuchDictGivesNone) {
  for (const char* text :
       {"", "{", "{}", "{0: 'a'", "{0 'a'}", "{0: 'a' 1: 'b'}", "['a']", "{'a': 0}", "{0: 'a",
        "{-1: 'a'}", "{99999999999999999999: 'a'}", "{1000000: 'a'}", "{0: 'caf\xe9'}"}) {
    EXPECT_TRUE(ParseUltralyticsNames(text).empty()) << text;
  }
}

TEST(UltralyticsSizes, AreHeightAndWidth) {
  const auto size = ParseUltralyticsSize("[480, 640]");
  ASSERT_TRUE(size.has_value());
  EXPECT_EQ(size->height, 480);
  EXPECT_EQ(size->width, 640);
  for (const char* text : {"", "640", "[640]", "[640, ]", "[0, 640]", "[640, -1]", "[640, 65536]",
                           "[640, 640", "[640, 99999999999999999999]", "(640, 640)"}) {
    EXPECT_FALSE(ParseUltralyticsSize(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace inferpool::modelserver
