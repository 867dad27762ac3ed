#include "worker/kserve_http/json_cursor.h"

#include <gtest/gtest.h>

namespace inferpool::kserve_http {
namespace {

TEST(JsonCursorTest, TakesTokensInOrder) {
  JsonCursor cursor(" \t\r\n[12.5e-1,\"a\"]");
  EXPECT_FALSE(cursor.Take('['));
  cursor.SkipSpace();
  EXPECT_TRUE(cursor.Take('['));
  const auto number = cursor.TakeNumber();
  ASSERT_TRUE(number);
  EXPECT_EQ(number->text, "12.5e-1");
  EXPECT_FALSE(number->whole);
  EXPECT_TRUE(cursor.Take(','));
  std::string text;
  EXPECT_TRUE(cursor.TakeString(text));
  EXPECT_EQ(text, "a");
  EXPECT_EQ(cursor.rest(), "]");
  EXPECT_FALSE(cursor.AtEnd());
  EXPECT_TRUE(cursor.Take("]"));
  EXPECT_TRUE(cursor.AtEnd());
  EXPECT_FALSE(cursor.Take(']'));
  EXPECT_FALSE(cursor.TakeNumber());
}

TEST(JsonCursorTest, NumbersAreJsons) {
  for (const std::string_view good : {"0", "-0", "10", "-1.5", "1e5", "1E+05", "0.0e-0"}) {
    const auto number = JsonCursor(good).TakeNumber();
    ASSERT_TRUE(number) << good;
    EXPECT_EQ(number->text, good);
    EXPECT_EQ(number->whole, good.find_first_of(".eE") == std::string_view::npos);
  }
  for (const std::string_view bad : {"", "-", "+1", ".5", "1.", "1e", "1e+", "a", "--1", "1.e1"}) {
    JsonCursor cursor(bad);
    EXPECT_FALSE(cursor.TakeNumber()) << bad;
    EXPECT_EQ(cursor.rest(), bad);
  }
  JsonCursor zero("01");  // a zero, and then something else
  EXPECT_EQ(zero.TakeNumber()->text, "0");
  EXPECT_EQ(zero.rest(), "1");
}

TEST(JsonCursorTest, StringsAreUtf8) {
  const auto take = [](std::string_view json) {
    JsonCursor cursor(json);
    std::string text = "before";
    return cursor.TakeString(text) && cursor.AtEnd() ? text : "(none)";
  };
  EXPECT_EQ(take(R"("")"), "");
  EXPECT_EQ(take(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(take(R"("\u0041\u00e9\u20AC\ud83d\ude00")"), "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(take("\"\xe2\x82\xac\""), "\xe2\x82\xac");
  EXPECT_EQ(take(R"("\u0000")"), std::string(1, '\0'));
  for (const std::string_view bad :
       {"", "a", "\"", "\"a", "\"\\\"", "\"\\a\"", "\"\\u\"", "\"\\u004\"", "\"\\u00g0\"",
        "\"\\u+041\"", "\"\\ud83d\"", "\"\\ud83d\\n\"", "\"\\ud83d\\ud83d\"", "\"\\ud83d\\ue000\"",
        "\"\\ude00\"", "\"\xc3\"", "\"\xff\"", "\"\x01\"", "\"\n\""}) {
    EXPECT_EQ(take(bad), "(none)") << bad;
  }
}

}  // namespace
}  // namespace inferpool::kserve_http
