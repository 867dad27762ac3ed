#include "modelserver/config/name_list.h"

#include <gtest/gtest.h>

namespace inferpool::modelserver {
namespace {

using Names = std::vector<std::string>;

TEST(NameListTest, ADictIsReadInClassOrder) {
  EXPECT_EQ(ParseNameList("{0: 'person', 1: 'bicycle'}"), (Names{"person", "bicycle"}));
  EXPECT_EQ(ParseNameList("{1:\"driver's\",0:'it\\'s'}"), (Names{"it's", "driver's"}));
  EXPECT_EQ(ParseNameList("{'1': 'b', '0': 'a',}"), (Names{"a", "b"}));
  EXPECT_EQ(ParseNameList("{\n  \"0\": \"a\",\n  \"1\": \"b\"\n}\n"), (Names{"a", "b"}));
}

TEST(NameListTest, AClassWithoutANameGetsItsNumber) {
  EXPECT_EQ(ParseNameList("{2: 'c'}"), (Names{"0", "1", "c"}));
  EXPECT_EQ(ParseNameList("['a', None, '']"), (Names{"a", "1", "2"}));
  EXPECT_EQ(ParseNameList("[null]"), (Names{"0"}));
}

TEST(NameListTest, AListAndATupleAreInOrder) {
  for (const char* text : {"['a', 'b']", "('a', 'b')", "['a','b',]", "( 'a', \"b\" , )",
                           "[\"a\", \"b\"]", "[u'a', u'b']", "[np.str_('a'), np.str_('b')]"}) {
    EXPECT_EQ(ParseNameList(text), (Names{"a", "b"})) << text;
  }
}

TEST(NameListTest, WordsWithoutQuotesAreNames) {
  EXPECT_EQ(ParseNameList("[0, 1.5, True]"), (Names{"0", "1.5", "True"}));
  EXPECT_EQ(ParseNameList("{0: 10, 1: 5}"), (Names{"10", "5"}));
}

TEST(NameListTest, EscapesMeanWhatPythonMeans) {
  EXPECT_EQ(ParseNameList(R"(['\x41\xe9\u00e9\U0001f697\101\0'])"),
            (Names{std::string("A\u00e9\u00e9\U0001f697A\0", 11)}));
  EXPECT_EQ(ParseNameList(R"(['a\nb\tc\rd\\e\'f\"g\ah\bi\fj\vk'])"),
            (Names{"a\nb\tc\rd\\e'f\"g\ah\bi\fj\vk"}));
  // Python knows no such escapes and leaves them as they are.
  EXPECT_EQ(ParseNameList(R"(['a\/b\qc'])"), (Names{R"(a\/b\qc)"}));
  EXPECT_EQ(ParseNameList("['a\\\nb']"), (Names{"ab"}));
}

TEST(NameListTest, JsonsEscapesHaveSurrogatesInPairs) {
  EXPECT_EQ(ParseNameList(R"(["a\/b \"c\" \ud83d\ude97"])"), (Names{"a/b \"c\" \U0001f697"}));
  EXPECT_EQ(ParseNameList(R"(["\ud83d x", "\ude97"])"), (Names{"\ufffd x", "\ufffd"}));
}

TEST(NameListTest, SignsInNamesAreNoSigns) {
  EXPECT_EQ(ParseNameList("{0: 'a, b', 1: 'c: d', 2: '{e}', 3: '[f]'}"),
            (Names{"a, b", "c: d", "{e}", "[f]"}));
}

TEST(NameListTest, WhatIsNoSuchListGivesNone) {
  for (const char* text : {"",
                           "{",
                           "{}",
                           "[]",
                           "coco.yaml",
                           "{0: 'a'",
                           "{0 'a'}",
                           "{0: 'a' 1: 'b'}",
                           "['a' 'b']",
                           "{'a': 0}",
                           "{0: 'a",
                           "{-1: 'a'}",
                           "{99999999999999999999: 'a'}",
                           "{1000000: 'a'}",
                           "{0: 'caf\xe9'}",
                           "['a'] b",
                           "['a')",
                           "[,]",
                           "['a',,'b']",
                           R"(['\x4'])",
                           R"(['\u12'])",
                           R"(['\U00110000'])",
                           "['a\\",
                           "[['a'], ['b']]",
                           "[np.str_('a']",
                           "{0: {}}"}) {
    EXPECT_TRUE(ParseNameList(text).empty()) << text;
  }
}

TEST(NameListTest, ThereAreAtMostTenThousand) {
  std::string many = "[";
  for (int i = 0; i < 10'000; ++i) {
    many += "'x',";
  }
  EXPECT_EQ(ParseNameList(many + "]").size(), 10'000U);
  EXPECT_TRUE(ParseNameList(many + "'x']").empty());
}

}  // namespace
}  // namespace inferpool::modelserver
