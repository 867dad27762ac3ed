// JSON that somebody else wrote.
#include "shared/base/strict_json.h"

#include <algorithm>
#include <string>

#include "shared/base/json_text.h"
#include "tests/fuzz/check.h"

using namespace inferpool;

namespace {

constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxValues = 100'000;  // more than an input can have

int Depth(const Json::Value& value) {
  if (!value.isObject() && !value.isArray()) return 0;
  int below = 0;
  for (const Json::Value& member : value) below = std::max(below, Depth(member));
  return 1 + below;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::Text(data, size);
  const auto value = ReadStrictJson(text, kMaxDepth, kMaxValues);
  if (value.ok()) {
    HOLDS(Depth(*value) <= kMaxDepth);
    HOLDS(text.find('\0') == std::string_view::npos);
    HOLDS(ReadStrictJson(text, kMaxDepth + 1, kMaxValues).ok());
    // Nothing may follow, and no key may be there twice.
    HOLDS(!ReadStrictJson(std::string(text) + "[]", kMaxDepth, kMaxValues).ok());
    const std::string twice =
        "{\"a\":" + std::string(text) + ",\"\\u0061\":" + std::string(text) + "}";
    HOLDS(!ReadStrictJson(twice, kMaxDepth + 1, kMaxValues).ok());
    // An object with this in it is as deep as it should be.
    const std::string object = "{\"a\":" + std::string(text) + "}";
    HOLDS(ReadStrictJson(object, kMaxDepth, kMaxValues).ok() == (Depth(*value) < kMaxDepth));
  } else {
    HOLDS(absl::IsInvalidArgument(value.status()) && !value.status().message().empty());
    HOLDS(Message(value.status()).find('\n') == std::string_view::npos);
  }

  // What we write ourselves is read back, and ASCII as it was.
  const auto back = ReadStrictJson(QuotedJson(text), 0, 1);
  HOLDS(back.ok() || text.find('\0') != std::string_view::npos);
  const bool ascii = std::ranges::all_of(text, [](char c) { return c > 0; });
  if (ascii) HOLDS(back->asString() == text);
  return 0;
}
