#include "shared/config/config_keys.h"

#include <gtest/gtest.h>
#include <json/json.h>
#include <json/value.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace inferpool {
namespace {

std::string SourcePath(const std::string& name) {
  return std::filesystem::canonical(INFERPOOL_SOURCE_DIR) / name;
}

Json::Value ParseJson(const std::string& text) {
  Json::Value value;
  std::string errors;
  std::istringstream stream(text);
  EXPECT_TRUE(Json::parseFromStream(Json::CharReaderBuilder(), stream, &value, &errors)) << errors;
  return value;
}

// The member "a.b" of `root`; null when there is none.
const Json::Value* Find(const Json::Value& root, const std::string& dotted) {
  const Json::Value* value = &root;
  std::istringstream names(dotted);
  for (std::string name; std::getline(names, name, '.');) {
    if (!value->isObject() || !value->isMember(name)) return nullptr;
    value = &(*value)[name];
  }
  return value;
}

TEST(ConfigKeysTest, NamesAreUniqueAndEveryKeyHasAMeaning) {
  std::set<std::string_view> names;
  for (const ConfigKey& key : ConfigKeys()) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_FALSE(key.meaning.empty()) << key.name;
    EXPECT_LE(std::ranges::count(key.name, '.'), 1) << key.name;
  }
  EXPECT_FALSE(names.empty());
}

TEST(ConfigKeysTest, NoTwoKeysShareAField) {
  Config config;
  std::set<const void*> fields;
  for (const ConfigKey& key : ConfigKeys()) {
    const void* field = std::visit(
        [&config](const auto& kind) {
          if constexpr (std::is_same_v<std::remove_cvref_t<decltype(kind)>, ObjectKey>) {
            return static_cast<const void*>(&kind);  // AChangeOfAnyKeyIsSeen tells them apart
          } else {
            return static_cast<const void*>(&kind.field(config));
          }
        },
        key.kind);
    EXPECT_TRUE(fields.insert(field).second) << key.name;
  }
}

TEST(ConfigKeysTest, EveryDefaultIsAllowed) {
  Config config;
  for (const ConfigKey& key : ConfigKeys()) {
    if (const auto* integer = std::get_if<IntegerKey>(&key.kind)) {
      EXPECT_GE(integer->field(config), integer->min) << key.name;
      EXPECT_LE(integer->field(config), integer->max) << key.name;
    } else if (const auto* number = std::get_if<NumberKey>(&key.kind)) {
      EXPECT_GE(number->field(config), number->min) << key.name;
      EXPECT_LE(number->field(config), number->max) << key.name;
    } else if (const auto* text = std::get_if<TextKey>(&key.kind)) {
      EXPECT_TRUE(text->words.empty() ||
                  std::ranges::find(text->words, text->field(config)) != text->words.end())
          << key.name;
    }
  }
}

TEST(ConfigKeysTest, AllowedSaysTheLimits) {
  const auto allowed = [](std::string_view name) {
    return Allowed(*std::ranges::find(ConfigKeys(), name, &ConfigKey::name));
  };
  EXPECT_EQ(allowed("limits.body_mb"), "a whole number from 1 to 1024");
  EXPECT_EQ(allowed("predict.iou"), "a number from 0 to 1");
  EXPECT_EQ(allowed("log.access"), "true or false");
  EXPECT_EQ(allowed("log.level"), "one of debug, info, warning, error");
  EXPECT_EQ(allowed("sidecar.address").substr(0, 4), "text");
  EXPECT_EQ(allowed("state"), "a path");
  EXPECT_EQ(allowed("backend.targets"), "a list of texts");
}

TEST(ConfigKeysTest, ValuesAreJsonThatReadsBack) {
  Config config;
  config.state = "a \"quoted\" \\ path";
  config.backend.targets = {"one", "t\"wo"};
  config.predict.confidence = 0.1;
  config.log.access = true;
  std::map<std::string_view, Json::Value> values;
  for (const ConfigKey& key : ConfigKeys()) {
    values[key.name] = ParseJson("[" + ValueOf(key, config) + "]")[0];
  }
  EXPECT_EQ(values["state"], "a \"quoted\" \\ path");
  EXPECT_EQ(values["predict.confidence"].asDouble(), 0.1);
  EXPECT_TRUE(values["log.access"].isBool() && values["log.access"].asBool());
  EXPECT_EQ(values["limits.body_mb"].asInt(), 50);
  ASSERT_EQ(values["backend.targets"].size(), 2U);
  EXPECT_EQ(values["backend.targets"][1], "t\"wo");
}

TEST(ConfigKeysTest, EveryReachHasAnEffectThatIsItsOwn) {
  std::set<std::string_view> effects;
  for (const ReloadEffect effect :
       {ReloadEffect::kMaster, ReloadEffect::kWorkers, ReloadEffect::kClients,
        ReloadEffect::kModels, ReloadEffect::kAll, ReloadEffect::kIngest, ReloadEffect::kRules,
        ReloadEffect::kNginx, ReloadEffect::kStart}) {
    EXPECT_FALSE(Describe(effect).empty());
    EXPECT_TRUE(effects.insert(Describe(effect)).second) << Describe(effect);
  }
}

TEST(ConfigKeysTest, TheReachOfAKeyIsThatOfWhoeverUsesIt) {
  const auto reach = [](std::string_view name) {
    return std::ranges::find(ConfigKeys(), name, &ConfigKey::name)->effect;
  };
  for (const char* name : {"workers", "listen.backlog", "timeouts.drain_s", "recycle.requests",
                           "recycle.concurrent", "quarantine.ttl_s"}) {
    EXPECT_EQ(reach(name), ReloadEffect::kMaster) << name;
  }
  for (const char* name :
       {"threads", "limits.body_mb", "limits.queue_ms", "predict.iou", "timeouts.request_s",
        "log.access", "log.slow_ms", "backend.channels", "breaker.open_s"}) {
    EXPECT_EQ(reach(name), ReloadEffect::kWorkers) << name;
  }
  // The sidecar talks to the model server, and logs.
  for (const char* name : {"backend.targets", "models", "log.level"}) {
    EXPECT_EQ(reach(name), ReloadEffect::kClients) << name;
  }
  EXPECT_EQ(reach("modelserver.repository"), ReloadEffect::kModels);
  EXPECT_EQ(reach("backend.message_mb"), ReloadEffect::kAll);
  for (const ConfigKey& key : ConfigKeys()) {
    // Problems name our pages below the base path.
    const bool is_nginxs = (key.name.starts_with("nginx.") && key.name != "nginx.base_path") ||
                           key.name.starts_with("cors.");
    EXPECT_EQ(key.effect == ReloadEffect::kNginx, is_nginxs) << key.name;
  }
  for (const char* name : {"streams.redis", "streams.cameras", "streams.fields"}) {
    EXPECT_EQ(reach(name), ReloadEffect::kIngest) << name;
  }
  EXPECT_EQ(reach("streams.rules"), ReloadEffect::kRules);
  // What sockets, files and identities are made of.
  for (const char* name :
       {"state", "workers_max", "user", "group", "listen.socket", "sidecar.address", "sidecar.port",
        "modelserver.enabled", "modelserver.listen", "log.file"}) {
    EXPECT_EQ(reach(name), ReloadEffect::kStart) << name;
  }
}

TEST(ConfigKeysTest, ChangedKeysAreThoseWhoseValuesDiffer) {
  const Config before;
  EXPECT_TRUE(ChangedKeys(before, before).empty());
  Config after = before;
  after.predict.iou = 0.46;
  after.backend.targets = {"unix:/a"};
  after.log.access = true;
  after.state = "/elsewhere";
  std::set<std::string_view> names;
  for (const ConfigKey* key : ChangedKeys(before, after)) names.insert(key->name);
  EXPECT_EQ(names,
            (std::set<std::string_view>{"predict.iou", "backend.targets", "log.access", "state"}));
}

TEST(ConfigKeysTest, AChangeOfAnyKeyIsSeen) {
  const Config before;
  for (const ConfigKey& key : ConfigKeys()) {
    Config after = before;
    std::visit(
        [&after, &key](const auto& kind) {
          if constexpr (std::is_same_v<std::remove_cvref_t<decltype(kind)>, ObjectKey>) {
            Json::Value object;
            if (key.name == "streams.fields") {
              object["picture"] = "y";
            } else if (key.name == "streams.motion") {
              object["enabled"] = true;
            } else if (key.name == "streams.rules") {
              object["x"]["url"] = "https://y";
              object["x"]["secret_file"] = "/z";
            } else {
              object["x"]["model"] = "y";
            }
            ASSERT_TRUE(kind.read(object, "", after).empty());
          } else {
            auto& field = kind.field(after);
            using T = std::remove_reference_t<decltype(field)>;
            if constexpr (std::is_same_v<T, bool>) {
              field = !field;
            } else if constexpr (std::is_arithmetic_v<T>) {
              field += 1;
            } else if constexpr (std::is_same_v<T, std::string>) {
              field += "x";
            } else {
              field.emplace_back("x");
            }
          }
        },
        key.kind);
    const auto changed = ChangedKeys(before, after);
    ASSERT_EQ(changed.size(), 1U) << key.name;
    EXPECT_EQ(changed[0]->name, key.name);
  }
}

TEST(ExampleFileTest, NamesEveryKeyWithItsDefault) {
  std::ifstream file(SourcePath("ops/inferpool.json"));
  ASSERT_TRUE(file);
  std::ostringstream text;
  text << file.rdbuf();
  const Json::Value example = ParseJson(text.str());
  for (const ConfigKey& key : ConfigKeys()) {
    const Json::Value* value = Find(example, std::string(key.name));
    ASSERT_NE(value, nullptr) << "ops/inferpool.json does not name " << key.name;
    // These two are relative to the file, as its head says.
    if (key.name == "state" || key.name == "modelserver.repository") continue;
    EXPECT_EQ(*value, ParseJson("[" + ValueOf(key, Config()) + "]")[0]) << key.name;
  }
}

TEST(ExampleFileTest, PassesTheCheckAndPointsIntoTheSourceTree) {
  const ConfigResult result = LoadConfig(SourcePath("ops/inferpool.json"), {});
  for (const ConfigProblem& problem : result.problems) {
    ADD_FAILURE() << Format(problem, "inferpool.json");
  }
  EXPECT_EQ(result.config.state, SourcePath("run"));
  EXPECT_EQ(result.config.modelserver.repository, SourcePath("ops/models"));
}

// The cells of a row of a Markdown table, without blanks and backticks around them.
std::vector<std::string> Cells(const std::string& row) {
  std::vector<std::string> cells;
  std::istringstream stream(row);
  for (std::string cell; std::getline(stream, cell, '|');) {
    const std::size_t begin = cell.find_first_not_of(" `");
    const std::size_t end = cell.find_last_not_of(" `");
    cells.push_back(begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1));
  }
  return cells;
}

TEST(ConfigurationPageTest, TableOfConfigKeysHasEveryKeyWithItsDefaultAndMeaning) {
  std::ifstream file(SourcePath("docs/configuration.md"));
  ASSERT_TRUE(file) << "there is no docs/configuration.md";
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  for (const ConfigKey& key : ConfigKeys()) {
    const std::string start = "| `" + std::string(key.name) + "` |";
    const auto row = std::ranges::find_if(
        lines, [&start](const std::string& line) { return line.starts_with(start); });
    const std::string wanted =
        start + " " + ValueOf(key, Config()) + " | " + std::string(key.meaning) + " |";
    if (row == lines.end()) {
      ADD_FAILURE() << "docs/configuration.md lacks the row\n" << wanted;
      continue;
    }
    const std::vector<std::string> cells = Cells(*row);
    ASSERT_GE(cells.size(), 4U) << *row;
    EXPECT_EQ(cells[2], ValueOf(key, Config())) << "docs/configuration.md should have\n" << wanted;
    EXPECT_NE(cells[3].find(key.meaning), std::string::npos)
        << "docs/configuration.md should have\n"
        << wanted;
  }
}

}  // namespace
}  // namespace inferpool
