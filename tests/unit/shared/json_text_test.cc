#include "shared/json_text.h"

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
      const std::string back = ReadBack(json);
      EXPECT_EQ(back.front(), '<') << json;
      EXPECT_EQ(back.back(), '>') << json;
    }
  }
}

TEST(QuotedJsonTest, BytesThatAreNoUtf8AreReplaced) {
  for (const char* text :
       {"\xff", "\x80", "\xc3(", "\xc0\xaf", "\xe2\x82", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_NE(ReadBack(QuotedJson(text)).find("\xef\xbf\xbd"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace inferpool
