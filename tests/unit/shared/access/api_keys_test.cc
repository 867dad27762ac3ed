#include "shared/access/api_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool {
namespace {

using std::chrono::sys_days;

const std::string kDigest = ToHex(Sha256Of("ip_shop"));

// A file of one key with these members besides its name and digest.
std::string FileOf(const std::string& more) {
  return fmt::format(R"({{"keys": [
  {{"name": "shop", "sha256": "{}"{}}}
]}})",
                     kDigest, more);
}

std::string ErrorOf(const std::string& text) {
  const auto keys = ParseApiKeys(text);
  return keys.ok() ? "no error" : std::string(Message(keys.status()));
}

TEST(ApiKeysTest, AnEntryMayBeShort) {
  const auto keys = ParseApiKeys(FileOf(""));
  ASSERT_TRUE(keys.ok()) << keys.status();
  ASSERT_EQ(keys->size(), 1U);
  const ApiKey& key = keys->front();
  EXPECT_EQ(key.name, "shop");
  EXPECT_EQ(key.sha256, Sha256Of("ip_shop"));
  EXPECT_TRUE(key.MayUse("any") && key.MayWatch("any"));
  EXPECT_EQ(key.rate.per_s, 0);
  EXPECT_EQ(key.priority, Priority::kNormal);
  EXPECT_EQ(key.expires_at, WallTime::max());
}

TEST(ApiKeysTest, AnEntryMaySayAll) {
  const auto keys = ParseApiKeys(FileOf(
      R"(, "models": ["faces", "shop-*"], "rate_per_s": 2.5, "burst": 7, "priority": "high",
           "expires": "2027-06-30")"));
  ASSERT_TRUE(keys.ok()) << keys.status();
  const ApiKey& key = keys->front();
  EXPECT_TRUE(key.MayUse("faces") && key.MayUse("shop-") && key.MayUse("shop-shoes"));
  EXPECT_FALSE(key.MayUse("face") || key.MayUse("faces2") || key.MayUse("my-shop-") ||
               key.MayUse(""));
  EXPECT_EQ(key.rate.per_s, 2.5);
  EXPECT_EQ(key.rate.burst, 7);
  EXPECT_EQ(key.priority, Priority::kHigh);
  EXPECT_EQ(key.expires_at, WallTime(sys_days(std::chrono::year(2027) / 7 / 1)))
      << "the day is over at its end";
}

TEST(ApiKeysTest, PatternsTakeAnyCharactersForAStar) {
  ApiKey key;
  for (const auto& [pattern, model, may] : {std::tuple("*", "a", true),
                                            {"*", "", true},
                                            {"a*c", "abbc", true},
                                            {"a*c", "ac", true},
                                            {"a*c", "acb", false},
                                            {"*b*", "abc", true},
                                            {"*b*", "ac", false},
                                            {"a**", "a", true},
                                            {"*.x", "a.y.x", true},
                                            {"ab*ab", "ab", false},
                                            {"?", "a", false},
                                            {"[a]", "a", false}}) {
    key.models = {pattern};
    EXPECT_EQ(key.MayUse(model), may) << pattern << " " << model;
  }
  key.models = {};
  EXPECT_FALSE(key.MayUse("a")) << "an empty list is for no model";
}

TEST(ApiKeysTest, CamerasAreNamedAsModelsAre) {
  const auto may_watch = [](const std::string& members, std::string_view camera) {
    const auto keys = ParseApiKeys(FileOf(members));
    EXPECT_TRUE(keys.ok()) << keys.status();
    // What is written of the key says the same.
    const auto again = ParseApiKeys(SerializeApiKeys(*keys));
    EXPECT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->front().cameras, keys->front().cameras) << members;
    return keys->front().MayWatch(camera);
  };
  const std::string doors = R"(, "cameras": ["door-*", "yard"])";
  EXPECT_TRUE(may_watch(doors, "door-3") && may_watch(doors, "yard"));
  EXPECT_FALSE(may_watch(doors, "hall"));
  EXPECT_FALSE(may_watch(R"(, "cameras": [])", "door-3"));
  EXPECT_TRUE(may_watch(R"(, "models": ["faces"], "cameras": ["door-*"])", "door-3"));
  EXPECT_TRUE(may_watch(R"(, "models": ["*"])", "door-3"));
  // A key that was made for a model does not open somebody's cameras.
  EXPECT_FALSE(may_watch(R"(, "models": ["faces"])", "door-3"));
}

TEST(ApiKeysTest, ABurstThatIsNotSaidIsASecondsWorth) {
  EXPECT_EQ(MakeRateLimit(2.5, 0)->burst, 3);
  EXPECT_EQ(MakeRateLimit(0.1, 0)->burst, 1);
}

TEST(ApiKeysTest, ExpiryIsATimeOrADay) {
  using namespace std::chrono_literals;
  const WallTime noon(sys_days(std::chrono::year(2027) / 6 / 30) + 12h);
  EXPECT_EQ(*ParseExpiry("2027-06-30T12:00:00Z"), noon);
  EXPECT_EQ(*ParseExpiry("2027-06-30T14:00:00+02:00"), noon);
  EXPECT_TRUE(ParseExpiry("9999-12-31").ok());
  for (const char* text : {"",
                           "never",
                           "tomorrow",
                           "2027-6-30",
                           "2027-06-31",
                           "2027-13-01",
                           "30.06.2027",
                           "2027-06-30 ",
                           "2027-06-30T12:00:00",
                           "2027-06-30T25:00:00Z",
                           "infinite-future",
                           "2027/06/30",
                           " 2027-06-30T12:00:00Z",
                           " 2027-06-30",
                           " 127-06-30",
                           "-127-06-30",
                           "+127-06-30",
                           " 127-06-30T12:00:00Z",
                           "-127-06-30T12:00:00Z",
                           "2027-06-30T12:00:00Z ",
                           "2027-06 -30"}) {
    EXPECT_FALSE(ParseExpiry(text).ok()) << text;
  }
}

TEST(ApiKeysTest, ABadFileIsRefusedWithItsLine) {
  for (const auto& [text, error] : {
           std::pair<std::string, std::string>("{\"keys\": [\n{]}", "is not JSON: Line 2"),
           {"", "is not JSON"},
           {"[]", "line 1: is no object"},
           {"{}", "line 1: has no keys"},
           {R"({"keys": {}})", "keys is no list"},
           {R"({"keys": [], "more": 1})", "\"more\" is unknown; allowed are keys"},
           {"{\"keys\": [\n\n1]}", "line 3: is no object"},
           {R"({"keys": [{"name": "a"}]})", "has no sha256"},
           {R"({"keys": [{"sha256": "00"}]})", "has no name"},
           {R"({"keys": [{"name": "a", "sha256": "00"}]})", "not 64 hexadecimal digits"},
           {R"({"keys": [{"name": "a b", "sha256": "00"}]})", "a key's name is"},
           {R"({"keys": [{"name": 1, "sha256": "00"}]})", "name is no text"},
           {FileOf(R"(, "key": "ip_secret")"), "line 2: \"key\" is unknown"},
           {FileOf(R"(, "models": "faces")"), "models is no list of names"},
           {FileOf(R"(, "models": [""])"), "models is no list of names"},
           {FileOf(R"(, "models": [1])"), "models is no list of names"},
           {FileOf(R"(, "cameras": "door-3")"), "cameras is no list of names"},
           {FileOf(R"(, "rate_per_s": "1")"), "rate_per_s is no number"},
           {FileOf(R"(, "rate_per_s": -1)"), "rate_per_s is 0 for no limit"},
           {FileOf(R"(, "rate_per_s": 1e30)"), "rate_per_s is 0 for no limit"},
           {FileOf(R"(, "rate_per_s": 1, "burst": 0)"), "burst is 0"},
           {FileOf(R"(, "rate_per_s": 1, "burst": 1.5)"), "burst is no whole number"},
           {FileOf(R"(, "burst": 5)"), "burst means nothing without rate_per_s"},
           {FileOf(R"(, "priority": "urgent")"), "priority is not high, normal or low"},
           {FileOf(R"(, "expires": "soon")"), "expires is \"soon\""},
           {FileOf(R"(, "name": "again")"), "is not JSON"},
           {fmt::format(R"({{"keys": [{{"name": "a", "sha256": "{0}"}},
                                      {{"name": "b", "sha256": "{0}"}}]}})",
                        kDigest),
            "line 2: there is a key with this sha256 already"},
           {fmt::format(R"({{"keys": [{{"name": "a", "sha256": "{}"}},
                                      {{"name": "a", "sha256": "{}"}}]}})",
                        kDigest, ToHex(Sha256Of("b"))),
            "line 2: there is a key a already"},
           {std::string(100'000, '['), "is not JSON"},
       }) {
    EXPECT_NE(ErrorOf(text).find(error), std::string::npos)
        << text.substr(0, 200) << ": " << ErrorOf(text) << ", expected " << error;
  }
}

TEST(ApiKeysTest, TooManyKeysAreRefused) {
  std::vector<ApiKey> keys;
  for (std::size_t i = 0; i <= kMaxApiKeys; ++i) {
    keys.push_back({.name = fmt::format("k{}", i), .sha256 = Sha256Of(fmt::format("{}", i))});
  }
  EXPECT_NE(ErrorOf(SerializeApiKeys(keys)).find("has 1001 keys"), std::string::npos);
  keys.pop_back();
  EXPECT_TRUE(ParseApiKeys(SerializeApiKeys(keys)).ok());
}

TEST(ApiKeysTest, WhatIsWrittenIsReadBack) {
  const auto keys = ParseApiKeys(
      FileOf(R"(, "models": ["a", "b*"], "rate_per_s": 0.3, "burst": 4, "priority": "low",
                  "expires": "2027-06-30T12:00:00Z")"));
  ASSERT_TRUE(keys.ok());
  const auto again = ParseApiKeys(SerializeApiKeys(*keys));
  ASSERT_TRUE(again.ok()) << again.status();
  const ApiKey& key = again->front();
  EXPECT_EQ(key.models, (std::vector<std::string>{"a", "b*"}));
  EXPECT_DOUBLE_EQ(key.rate.per_s, 0.3);
  EXPECT_EQ(key.rate.burst, 4);
  EXPECT_EQ(key.priority, Priority::kLow);
  EXPECT_EQ(key.expires_at, keys->front().expires_at);
  EXPECT_EQ(key.sha256, keys->front().sha256);
}

TEST(ApiKeysTest, AnErrorNamesTheFileAndTheLine) {
  const test::TemporaryFolder folder;
  const std::string file = folder / "keys.json";
  EXPECT_TRUE(absl::IsNotFound(LoadApiKeys(file).status()));
  EXPECT_FALSE(LoadApiKeys(folder / "").ok()) << "a folder";
  std::ofstream(file) << "{\"keys\": [\n7]}";
  EXPECT_EQ(Message(LoadApiKeys(file).status()), file + ":2: is no object { ... }");
  std::ofstream(file) << "";
  EXPECT_FALSE(LoadApiKeys(file).ok());
  std::ofstream(file) << FileOf("");
  EXPECT_TRUE(LoadApiKeys(file).ok());
}

}  // namespace
}  // namespace inferpool
