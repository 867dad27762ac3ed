// JSON that the code under test wrote, read by somebody else's parser.
#pragma once

#include <gtest/gtest.h>
#include <json/json.h>

#include <memory>
#include <string>
#include <string_view>

namespace inferpool::test {

// Null, and a failed expectation, when `text` is not one JSON value by the letter of the standard.
inline Json::Value ParseJson(std::string_view text) {
  Json::CharReaderBuilder builder;
  Json::CharReaderBuilder::strictMode(&builder.settings_);
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  Json::Value value;
  std::string errors;
  EXPECT_TRUE(reader->parse(text.data(), text.data() + text.size(), &value, &errors))
      << errors << "in " << text;
  // jsoncpp does not look at the encoding, so nothing but ASCII may be there for it to be sure.
  for (const char c : text) {
    EXPECT_TRUE((c >= ' ' && c <= 0x7f) || c == '\n') << "a bare byte in " << text;
  }
  return value;
}

}  // namespace inferpool::test
