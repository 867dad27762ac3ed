#include "shared/config/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "shared/config/config_keys.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::Contains;
using test::FileWith;
using test::HasOnly;
using test::IsGood;
using test::Parse;
using test::Print;
using test::TemporaryFolder;
using test::WriteFile;

// What else must be set for `key` to make sense, as overrides.
ConfigOverrides Company(const ConfigKey& key) {
  if (key.name == "modelserver.enabled") return {R"(backend.targets=["unix:/a"])"};
  if (key.name == "workers") return {"workers_max=512"};
  if (key.name == "workers_max") return {"workers=1"};
  if (key.name == "group") return {"user=somebody"};
  if (key.name == "nginx.certificate") return {"nginx.certificate_key=/k.pem"};
  if (key.name == "nginx.certificate_key") return {"nginx.certificate=/c.pem"};
  if (key.name == "nginx.proxy_protocol") return {R"(nginx.trusted_proxies=["10.0.0.7"])"};
  if (key.name == "nginx.ocsp_stapling") return {R"(nginx.resolvers=["10.0.0.53"])"};
  return {};
}

// Values that the kind of a key allows, and the text that ValueOf must show for each.
std::vector<std::pair<std::string, std::string>> GoodValues(const ConfigKey& key) {
  if (const auto* integer = std::get_if<IntegerKey>(&key.kind)) {
    const std::string least = std::to_string(integer->min);
    const std::string most = std::to_string(integer->max);
    // 0 workers stands for the number of cores.
    if (key.name == "workers") return {{"1", "1"}, {most, most}};
    return {{least, least}, {most, most}};
  }
  if (std::holds_alternative<NumberKey>(key.kind)) return {{"0", "0"}, {"1", "1"}, {"0.5", "0.5"}};
  if (std::holds_alternative<BooleanKey>(key.kind)) return {{"true", "true"}, {"false", "false"}};
  if (const auto* text = std::get_if<TextKey>(&key.kind)) {
    if (key.name == "sidecar.address") return {{"\"10.0.0.1\"", "\"10.0.0.1\""}};
    if (key.name == "streams.redis") {
      return {{"\"unix:/r.sock\"", "\"unix:/r.sock\""}, {"\"redis:6379\"", "\"redis:6379\""}};
    }
    if (key.name == "nginx.base_path") return {{"\"/a/b\"", "\"/a/b\""}, {"\"\"", "\"\""}};
    if (key.name == "modelserver.listen") return {{"\"unix:/m\"", "\"unix:/m\""}};
    std::vector<std::pair<std::string, std::string>> good;
    for (const std::string_view word : text->words) {
      const std::string quoted = "\"" + std::string(word) + "\"";
      good.emplace_back(quoted, quoted);
    }
    if (good.empty()) good.emplace_back("\"some.host\"", "\"some.host\"");
    return good;
  }
  if (std::holds_alternative<PathKey>(key.kind)) {
    return {{"\"a/b\"", "\"/srv/pool/a/b\""}, {"\"/a/b\"", "\"/a/b\""}};
  }
  if (std::holds_alternative<ObjectKey>(key.kind)) {
    static const std::map<std::string_view, std::string> kObjects = {
        {"models", R"({"a": {"family": "yolov8"}})"},
        {"pipelines", R"({"a": {"model": "m"}})"},
        {"routes", R"({"a": {"model": "b", "version": 3}})"},
        {"streams.cameras", R"({"a": {"model": "m"}})"},
        {"streams.fields", R"({"picture": "jpeg"})"},
        {"streams.motion", R"({"enabled": true, "masks": [[[0, 0], [1, 0], [1, 0.5]]]})"},
        {"streams.rules", R"({"a": {"url": "https://b/c", "secret_file": "/d"}})"}};
    return {{"{}", "{}"}, {kObjects.at(key.name), kObjects.at(key.name)}};
  }
  static const std::map<std::string_view, std::string> kLists = {
      {"cors.origins", R"(["https://a.example", "https://*.a.example", "*"])"},
      {"cors.headers", R"(["baggage", "*"])"},
      {"nginx.resolvers", R"(["10.0.0.53", "[::1]:53"])"},
      {"nginx.trusted_proxies", R"(["10.0.0.7", "fd00::/8"])"},
      {"nginx.metrics_allow", R"(["10.0.0.7", "fd00::/8"])"},
      {"nginx.pools", R"(["unix:/a.sock", "10.0.0.7:9000"])"},
      {"nginx.sidecars", R"(["10.0.0.7:9090", "pool-2:9090"])"}};
  if (const auto list = kLists.find(key.name); list != kLists.end()) {
    return {{list->second, list->second}, {"[]", "[]"}};
  }
  return {{R"(["unix:/a"])", R"(["unix:/a"])"},
          {R"(["ipv4:10.0.0.1:8001", "ipv4:10.0.0.2:8001"])",
           R"(["ipv4:10.0.0.1:8001", "ipv4:10.0.0.2:8001"])"}};
}

std::vector<std::string> BadValues(const ConfigKey& key) {
  if (const auto* integer = std::get_if<IntegerKey>(&key.kind)) {
    return {std::to_string(integer->min - 1L),
            std::to_string(integer->max + 1L),
            "-99999999999999999999",
            "99999999999999999999999",
            "1.5",
            "1e300",
            "\"1\"",
            "true",
            "null",
            "[1]",
            "{}"};
  }
  if (std::holds_alternative<NumberKey>(key.kind)) {
    return {"-0.001", "1.001", "1e300", "\"0.5\"", "true", "null", "[]", "{}"};
  }
  if (std::holds_alternative<BooleanKey>(key.kind)) {
    return {"0", "1", "\"true\"", "null", "[]", "{}"};
  }
  if (const auto* text = std::get_if<TextKey>(&key.kind)) {
    std::vector<std::string> bad = {"5",         "true",         "null",         "[\"a\"]", "{}",
                                    "\"a\\nb\"", "\"a\\u0000\"", "\"a\\u007f\"", "\"a\tb\""};
    if (!text->words.empty()) bad.insert(bad.end(), {"\"loud\"", "\"\"", "\"INFO\""});
    return bad;
  }
  if (std::holds_alternative<PathKey>(key.kind)) {
    return {"5", "true", "null", "[]", "{}", "\"a\\nb\"", "\"a\\u0000b\"", "\"\\u001b[0m\""};
  }
  if (std::holds_alternative<ObjectKey>(key.kind)) {
    return {"5", "null", "[]", "\"a\"", "true"};
  }
  return {"\"unix:/a\"", "5", "null", "{}", "[5]", "[[\"a\"]]", "[null]", "[\"a\", \"b\\n\"]"};
}

TEST(ConfigTest, AnEmptyFileGivesTheDocumentedDefaults) {
  const ConfigResult result = Parse("{}");
  ASSERT_TRUE(IsGood(result));
  const Config& config = result.config;
  EXPECT_EQ(config.state, "/srv/pool/run");
  EXPECT_GE(config.workers, 1) << "one worker a core";
  EXPECT_EQ(config.workers_max, 128);
  EXPECT_EQ(config.threads, 8);
  EXPECT_EQ(config.user, "");
  EXPECT_FALSE(config.core_dumps);
  EXPECT_EQ(config.listen.socket, "/srv/pool/run/inferpool.sock");
  EXPECT_EQ(config.listen.backlog, 511);
  EXPECT_EQ(config.sidecar.address, "127.0.0.1");
  EXPECT_EQ(config.sidecar.port, 9090);
  EXPECT_EQ(config.backend.targets,
            std::vector<std::string>{"unix:/srv/pool/run/modelserver.sock"});
  EXPECT_EQ(config.backend.message_mb, 256);
  EXPECT_TRUE(config.modelserver.enabled);
  EXPECT_EQ(config.modelserver.repository, "/srv/pool/models");
  EXPECT_EQ(config.modelserver.listen, "unix:/srv/pool/run/modelserver.sock");
  EXPECT_EQ(config.limits.body_mb, 50);
  EXPECT_EQ(config.limits.pixels, 64'000'000);
  EXPECT_EQ(config.limits.queue_ms, 1'000);
  EXPECT_EQ(config.predict.confidence, 0.25);
  EXPECT_EQ(config.predict.iou, 0.45);
  EXPECT_EQ(config.predict.max_detections, 300);
  EXPECT_EQ(config.timeouts.request_s, 30);
  EXPECT_EQ(config.timeouts.drain_s, 30);
  EXPECT_EQ(config.timeouts.start_s, 10);
  EXPECT_EQ(config.timeouts.io_s, 10);
  EXPECT_EQ(config.recycle.requests, 50'000);
  EXPECT_EQ(config.recycle.jitter, 5'000);
  EXPECT_EQ(config.recycle.age_s, 0);
  EXPECT_EQ(config.recycle.rss_mb, 0);
  EXPECT_EQ(config.recycle.concurrent, 1);
  EXPECT_EQ(config.quarantine.ttl_s, 600);
  EXPECT_EQ(config.log.file, "") << "stderr";
  EXPECT_EQ(config.log.level, "info");
  EXPECT_FALSE(config.log.access);
  EXPECT_EQ(config.log.slow_ms, 100);
  EXPECT_EQ(config.nginx.port, 8443);
  EXPECT_EQ(config.nginx.http_port, 8080);
  EXPECT_EQ(config.nginx.server_name, "_");
  EXPECT_EQ(config.nginx.certificate, "/srv/pool/run/tls/certificate.pem");
  EXPECT_EQ(config.nginx.certificate_key, "/srv/pool/run/tls/key.pem");
  EXPECT_EQ(config.nginx.rate_per_s, 1'000);
  EXPECT_EQ(config.nginx.burst, 2'000);
}

TEST(ConfigTest, EveryKeyIsReadFromItsPlaceInTheFile) {
  for (const ConfigKey& key : ConfigKeys()) {
    for (const auto& [json, shown] : GoodValues(key)) {
      const ConfigResult result = Parse(FileWith(key.name, json), Company(key));
      EXPECT_TRUE(IsGood(result)) << key.name << " = " << json;
      EXPECT_EQ(ValueOf(key, result.config), shown) << key.name;
    }
  }
}

TEST(ConfigTest, EveryKeyRefusesWhatItDoesNotAllowAndSaysWhatItDoes) {
  for (const ConfigKey& key : ConfigKeys()) {
    for (const std::string& json : BadValues(key)) {
      SCOPED_TRACE(std::string(key.name) + " = " + json);
      EXPECT_TRUE(HasOnly(Parse(FileWith(key.name, json)), 3, std::string(key.name), Allowed(key)));
    }
  }
}

TEST(ConfigTest, ARefusedValueIsShownButNotAtAnyLength) {
  const ConfigResult number = Parse("{\"workers\": 513}");
  EXPECT_TRUE(HasOnly(number, 1, "workers", "is 513, allowed is a whole number from 0 to 512"));
  const ConfigResult text = Parse("{\"workers\": \"" + std::string(10'000, 'x') + "\"}");
  EXPECT_TRUE(HasOnly(text, 1, "workers", "\"xxx"));
  EXPECT_LT(text.problems[0].message.size(), 300U);
}

TEST(ConfigTest, ARefusedValueLeavesTheDefault) {
  EXPECT_EQ(Parse("{\"threads\": 0}").config.threads, 8);
}

TEST(ConfigTest, AllProblemsComeAtOnceInTheOrderOfTheirLines) {
  const ConfigResult result = Parse(R"({
  // a comment counts as a line
  "workers": -1,
  "predict": {
    "iou": 2,

    "confidence": "high",
    "max_detections": 300
  },
  "log": { "level": "loud", "acess": true },
  "limits": 5,
  "nginx": { "port": 443,
             "http_port": 443 },
  "backend": { "targets": [
       "unix:/a", 7 ] }
})");
  std::vector<std::pair<int, std::string>> got;
  for (const ConfigProblem& problem : result.problems) got.emplace_back(problem.line, problem.key);
  // Problems of one line come in no promised order.
  std::ranges::sort(got);
  const std::vector<std::pair<int, std::string>> wanted = {
      {3, "workers"},    {5, "predict.iou"}, {7, "predict.confidence"}, {10, "log.acess"},
      {10, "log.level"}, {11, "limits"},     {13, "nginx.http_port"},   {14, "backend.targets"}};
  EXPECT_EQ(got, wanted) << Print(result.problems);
  EXPECT_TRUE(std::ranges::is_sorted(result.problems, {}, &ConfigProblem::line));
}

TEST(ConfigTest, LinesAreCountedWithWindowsLineEndsToo) {
  EXPECT_TRUE(HasOnly(Parse("{\r\n\r\n\"workers\": -1\r\n}"), 3, "workers", "is -1"));
}

TEST(ConfigTest, AnUnknownKeyNamesTheNearestKnownOne) {
  EXPECT_TRUE(HasOnly(Parse("{\n\"worker\": 3}"), 2, "worker", "workers"));
  EXPECT_TRUE(
      HasOnly(Parse("{\"limits\": {\n\"body_mbs\": 3}}"), 2, "limits.body_mbs", "limits.body_mb"));
  EXPECT_TRUE(HasOnly(Parse("{\"timeouts\": {\"drian_s\": 3}}"), 1, "timeouts.drian_s",
                      "timeouts.drain_s"));
  EXPECT_TRUE(HasOnly(Parse("{\"nginx\": {\"burst\": {\"size\": 3}}}"), 1, "nginx.burst",
                      "a whole number"));
  EXPECT_TRUE(HasOnly(Parse("{\"\": 3}"), 1, "", "unknown key"));
}

TEST(ConfigTest, AMisspeltSectionNamesTheNearestSection) {
  EXPECT_TRUE(HasOnly(Parse(R"({"limit": {"body_mb": 3}})"), 1, "limit", "limits"));
  EXPECT_TRUE(HasOnly(Parse(R"({"timeout": {"drain_s": 3}})"), 1, "timeout", "timeouts"));
  EXPECT_TRUE(
      HasOnly(Parse(R"({"model_server": {"enabled": true}})"), 1, "model_server", "modelserver"));
}

TEST(ConfigTest, AKeyOutsideItsSectionNamesTheOneInIt) {
  EXPECT_TRUE(HasOnly(Parse(R"({"body_mb": 3})"), 1, "body_mb", "limits.body_mb"));
  EXPECT_TRUE(HasOnly(Parse(R"({"slow_ms": 3})"), 1, "slow_ms", "log.slow_ms"));
}

TEST(ConfigTest, ASectionMustBeAnObject) {
  for (const char* value : {"5", "null", "\"text\"", "[]", "true"}) {
    EXPECT_TRUE(HasOnly(Parse("{\n\"limits\": " + std::string(value) + "}"), 2, "limits", value));
  }
  EXPECT_TRUE(IsGood(Parse("{\"limits\": {}}")));
}

TEST(ConfigTest, CommentsMayStandAnywhere) {
  const ConfigResult result = Parse(R"(// before
/* and
   so */ { // here
  "workers": /* there */ 3, // "threads": 9
  /* "threads": 10, */
  "state": "/a//b/*c*/" // "in text it is text"
} // after
/* the end */
)");
  EXPECT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.workers, 3);
  EXPECT_EQ(result.config.threads, 8);
}

TEST(ConfigTest, AKeyThatStandsTwiceIsAProblem) {
  const ConfigResult flat = Parse("{\n\"workers\": 3,\n\"workers\": 4\n}");
  ASSERT_FALSE(flat.problems.empty());
  EXPECT_EQ(flat.problems[0].line, 3) << Print(flat.problems);
  EXPECT_TRUE(Contains(Print(flat.problems), "workers")) << Print(flat.problems);
  const ConfigResult section = Parse("{\"limits\": {},\n\n\"limits\": {\"body_mb\": 3}}");
  ASSERT_FALSE(section.problems.empty());
  EXPECT_EQ(section.problems[0].line, 3) << Print(section.problems);
  EXPECT_TRUE(Contains(Print(section.problems), "limits")) << Print(section.problems);
}

TEST(ConfigTest, AKeyGivenBothDottedAndInItsSectionIsAProblem) {
  EXPECT_FALSE(Parse(R"({"limits.body_mb": 5, "limits": {"body_mb": 6}})").problems.empty());
}

TEST(ConfigTest, ASyntaxErrorHasItsLine) {
  const std::vector<std::pair<std::string, int>> broken = {
      {"{\n\"workers\": 3\n\"threads\": 4\n}", 3},
      {"{\n\"workers\" 3\n}", 2},
      {"{\n\n\"workers\": tru\n}", 3},
      {"{\n\"workers\": 3,\n", 3},
      {"{\n\"state\": \"open\n}", 2},
      {"{\n'state': 'single'\n}", 2},
      {"{\n\"workers\": 1.2.3\n}", 2},
      {"{\n}\n}", 3},
      {"{\n\"a\": [1, 2\n}", 3},
  };
  for (const auto& [text, line] : broken) {
    const ConfigResult result = Parse(text);
    ASSERT_EQ(result.problems.size(), 1U) << text << Print(result.problems);
    EXPECT_EQ(result.problems[0].line, line) << text << Print(result.problems);
    EXPECT_TRUE(Contains(result.problems[0].message, "JSON")) << Print(result.problems);
  }
}

TEST(ConfigTest, WhatIsNoJsonObjectIsAProblem) {
  for (const std::string text : {"", " \n", "// only a comment", "[]", "5", "\"text\"", "null",
                                 "true", "{", "}", "\xff\xfe{\0}\0", "/* open {}", "nonsense"}) {
    EXPECT_FALSE(Parse(text).problems.empty()) << text;
  }
}

TEST(ConfigTest, TextAfterTheObjectIsAProblem) {
  for (const std::string text : {"{} {}", "{}\n5", "{},", "{} x", "{} garbage here", "{}}"}) {
    EXPECT_FALSE(Parse(text).problems.empty()) << text;
  }
}

TEST(ConfigTest, DeepNestingIsAProblemAndNoCrash) {
  for (const std::string bracket : {"[", "{\"a\":"}) {
    std::string deep = "{\"state\": ";
    for (int i = 0; i < 50'000; ++i) deep += bracket;
    EXPECT_FALSE(Parse(deep).problems.empty());
  }
}

TEST(ConfigTest, EveryKeyCanBeOverridden) {
  for (const ConfigKey& key : ConfigKeys()) {
    for (const auto& [json, shown] : GoodValues(key)) {
      std::string value = json;
      if (std::holds_alternative<TextKey>(key.kind) || std::holds_alternative<PathKey>(key.kind)) {
        value = json.substr(1, json.size() - 2);  // plain text
      }
      ConfigOverrides overrides = Company(key);
      overrides.push_back(std::string(key.name) + "=" + value);
      const ConfigResult result = Parse("{}", overrides);
      EXPECT_TRUE(IsGood(result)) << key.name << "=" << value;
      if (std::holds_alternative<PathKey>(key.kind) && !value.starts_with('/')) continue;
      EXPECT_EQ(ValueOf(key, result.config), shown) << key.name;
    }
  }
}

TEST(ConfigTest, RelativePathsOfTheFileAreBelowItsFolder) {
  const ConfigResult result = Parse(R"({
    "state": "../other/./state", "modelserver": {"repository": "models/here"},
    "listen": {"socket": "/abs/pool.sock"},
    "nginx": {"certificate": "c.pem", "certificate_key": "../k.pem"}})");
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.state, "/srv/other/state");
  EXPECT_EQ(result.config.modelserver.repository, "/srv/pool/models/here");
  EXPECT_EQ(result.config.listen.socket, "/abs/pool.sock");
  EXPECT_EQ(result.config.nginx.certificate, "/srv/pool/c.pem");
  EXPECT_EQ(result.config.nginx.certificate_key, "/srv/k.pem");
}

TEST(ConfigTest, EveryPathIsAbsoluteAfterLoading) {
  for (const ConfigKey& key : ConfigKeys()) {
    if (!std::holds_alternative<PathKey>(key.kind)) continue;
    for (const char* json : {"\"x\"", "\".\"", "\"\""}) {
      const ConfigResult result = Parse(FileWith(key.name, json));
      if (!result.problems.empty()) continue;  // refusing it is as good
      const std::string value = ValueOf(key, result.config);
      // Empty has a meaning of its own there: stderr, no keys, the pages that came with the
      // program.
      const bool none = key.name == "log.file" || key.name == "auth.keys_file" ||
                        key.name == "nginx.pages" || key.name == "nginx.swagger_ui" ||
                        key.name == "modelserver.onnxruntime" ||
                        key.name == "streams.password_file";
      if (none && value == "\"\"") continue;
      EXPECT_TRUE(value.starts_with("\"/")) << key.name << " = " << json << " became " << value;
    }
  }
}

TEST(ConfigTest, LoadReadsAFileAndResolvesPathsAgainstIt) {
  const TemporaryFolder folder;
  WriteFile(folder / "etc/pool.json", R"({"workers": 7, "state": "../state"})");
  const ConfigResult result = LoadConfig(folder / "etc/pool.json", {"threads=3"});
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.workers, 7);
  EXPECT_EQ(result.config.threads, 3);
  EXPECT_EQ(result.config.state, folder / "state");
}

TEST(ConfigTest, LoadTakesARelativePathToTheFile) {
  const TemporaryFolder folder;
  WriteFile(folder / "pool.json", "{}");
  const std::string relative = std::filesystem::relative(folder / "pool.json");
  EXPECT_EQ(LoadConfig(relative, {}).config.state, folder / "run");
}

TEST(ConfigTest, AFileThatCannotBeReadIsTheOneProblem) {
  const TemporaryFolder folder;
  EXPECT_TRUE(HasOnly(LoadConfig(folder / "none.json", {}), 0, "", "read"));
  EXPECT_TRUE(HasOnly(LoadConfig(folder.path(), {}), 0, "", "read"));
  EXPECT_TRUE(HasOnly(LoadConfig("", {}), 0, "", "read"));
}

TEST(ConfigTest, AProblemIsFormattedAsCompilersDo) {
  EXPECT_EQ(Format({12, "limits.body_mb", "is 0"}, "FILE"), "FILE:12: limits.body_mb: is 0");
  EXPECT_EQ(Format({0, "limits.body_mb", "is 0"}, "FILE"), "FILE: limits.body_mb: is 0");
  EXPECT_EQ(Format({3, "", "is not JSON"}, "FILE"), "FILE:3: is not JSON");
  EXPECT_EQ(Format({0, "", "cannot be read"}, "FILE"), "FILE: cannot be read");
}

// Whatever a file holds, reading it ends in a good configuration or in problems at lines it has.
TEST(ConfigTest, DamagedFilesGiveProblemsAndNeverACrash) {
  const std::string good =
      test::ReadFile(std::string(INFERPOOL_SOURCE_DIR) + "/ops/inferpool.json");
  ASSERT_FALSE(good.empty());
  std::mt19937 random(20'261'121);
  const auto below = [&random](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  const std::vector<std::string> tokens = {"{",     "}",    "[",       "]",    ",",    ":",
                                           "\"",    "//",   "/*",      "*/",   "null", "-1",
                                           "1e999", "true", "\\u0000", "\xff", "\n"};
  for (int round = 0; round < 500; ++round) {
    std::string text = good;
    for (std::size_t i = 0; i <= below(4); ++i) {
      const std::size_t at = below(text.size());
      switch (below(3)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.insert(at, tokens[below(tokens.size())]);
          break;
        default:
          text.erase(at, below(40));
          break;
      }
      if (text.empty()) text = "{";
    }
    const ConfigResult result = Parse(text);
    const auto lines = 1 + std::ranges::count(text, '\n');
    for (const ConfigProblem& problem : result.problems) {
      ASSERT_GE(problem.line, 0);
      ASSERT_LE(problem.line, lines) << text;
      ASSERT_FALSE(problem.message.empty());
    }
  }
}

TEST(ConfigTest, AZeroByteDoesNotEndTheText) {
  using namespace std::literals;
  EXPECT_TRUE(HasOnly(Parse("{\"workers\": 2}\n\0 and more"sv), 2, "", "zero byte"));
}

}  // namespace
}  // namespace inferpool
