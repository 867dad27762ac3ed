#include "shared/base/json_text.h"

#include <gtest/gtest.h>
#include <json/json.h>

#include <memory>
#include <string>

namespace inferpool {
namespace {

using std::string_literals::operator""s;

// The text that a strict parser reads back; a mark when it is no JSON string.
std::string ReadBack(const std::string& json) {
  Json::CharReaderBuilder builder;
  Json::CharReaderBuilder::strictMode(&builder.settings_);
  builder["strictRoot"] = false;
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  Json::Value value;
  std::string errors;
  if (!reader->parse(json.data(), json.data() + json.size(), &value, &errors)) {
    return "(no JSON: " + json + ")";
  }
  return value.isString() ? value.asString() : "(no string)";
}

TEST(QuotedJsonTest, TextReadsBackAsItWas) {
  for (const std::string& text :
       {""s, "plain"s, "\"quoted\""s, "back\\slash"s, "a\r\n\tb"s, "\x01\x1f\x7f"s, "</script>"s,
        "caf\xc3\xa9"s, "\xe2\x82\xac"s, "\xf0\x9f\x98\x80"s, "\xe2\x80\xa8"s}) {
    EXPECT_EQ(ReadBack(QuotedJson(text)), text);
  }
}

TEST(QuotedJsonTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(QuotedJson("\x1f \x7e\x7f"), "\"\\u001f ~\\u007f\"");
}

TEST(QuotedJsonTest, GoesOnAfterZeroBytes) {
  for (const std::string& text : {"\0"s, "a\0b"s, "\0\0"s, "a\0"s, "\0a"s, "a\0\0\"b\\\0"s}) {
    EXPECT_EQ(ReadBack(QuotedJson(text)), text);
  }
}

TEST(QuotedJsonTest, IsAsciiWhateverTheTextHolds) {
  for (int first = 0; first < 256; ++first) {
    for (const char second : {'\x80', '\xbf', 'a', '\0', '\xff', '"'}) {
      const std::string text = "<" + std::string(1, static_cast<char>(first)) + second + ">";
      const std::string json = QuotedJson(text);
      for (const char c : json) ASSERT_TRUE(c >= ' ' && c <= 0x7f) << first;
      EXPECT_EQ(ReadBack(json).front(), '<') << json;
    }
  }
}

// As many marks as one likes, but the text around must stay: "café au lait" in Latin-1 keeps its
// " au lait".
TEST(QuotedJsonTest, BytesThatAreNoUtf8AreReplacedAndNothingElse) {
  for (const char* bytes :
       {"\xff", "\x80", "\xbf\xbf", "\xe9", "\xc3", "\xc0\xaf", "\xe2\x82", "\xed\xa0\x80",
        "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80"}) {
    const std::string back = ReadBack(QuotedJson("before" + std::string(bytes) + " after"));
    EXPECT_TRUE(back.starts_with("before\xef\xbf\xbd")) << testing::PrintToString(bytes) << back;
    EXPECT_TRUE(back.ends_with(" after")) << testing::PrintToString(bytes) << back;
  }
}

}  // namespace
}  // namespace inferpool
