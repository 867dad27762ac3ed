#include "ops/feeder/settings.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::feeder {
namespace {

// What the arguments make of it; the text of the error, if there is one.
std::string Parse(std::vector<std::string> arguments, Settings& settings) {
  CLI::App app;
  AddOptions(app, settings);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::Error& error) {
    return error.what();
  }
  return "";
}

TEST(SettingsTest, OptionsBelongToTheCameraBeforeThem) {
  Settings settings;
  ASSERT_EQ(Parse({"--redis",  "unix:/r",   "--camera", "a",      "--source", "rtsp://a", "--fps",
                   "2.5",      "--camera",  "b",        "--loop", "--source", "b.mp4",    "--width",
                   "640",      "--quality", "70",       "--wait", "3",        "--camera", "c",
                   "--source", "rtsp://c",  "--shards", "8"},
                  settings),
            "");
  ASSERT_EQ(settings.cameras.size(), 3U);
  EXPECT_EQ(settings.cameras[0].source, (SourceSettings{.address = "rtsp://a", .fps = 2.5}));
  EXPECT_EQ(
      settings.cameras[1].source,
      (SourceSettings{.address = "b.mp4", .loop = true, .width = 640, .quality = 70, .wait = 3}));
  EXPECT_EQ(settings.cameras[2].source, (SourceSettings{.address = "rtsp://c"}));
  EXPECT_EQ(settings.redis.where, "unix:/r");
  EXPECT_EQ(settings.shards, 8);
}

TEST(SettingsTest, WrongOptionsAreRefused) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--source", "a"},
                                             {"--loop"},
                                             {"--camera", "a", "--fps", "0"},
                                             {"--camera", "a", "--fps", "many"},
                                             {"--camera", "a", "--width", "2"},
                                             {"--camera", "a", "--quality", "101"},
                                             {"--camera", "a", "--wait", "-1"},
                                             {"--shards", "0"},
                                             {"--config", "/nowhere.json"}}) {
    Settings settings;
    EXPECT_NE(Parse(arguments, settings), "") << arguments.front();
  }
}

TEST(SettingsTest, AFileSaysTheSameAndOptionsGoBeforeIt) {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() + "/cameras.json";
  std::ofstream(file) << R"({"redis": "unix:/r", "user": "u", "password_file": "p", "shards": 4,
      "camera_set": "set", "remove": true, "max_frames": 5, "timeout_s": 6,
      "cameras": {"a": {"source": "rtsp://a", "fps": 2.5, "wait": 9},
                  "b": {"source": "b.mp4", "loop": true, "width": 320, "quality": 50}}})";
  Settings settings;
  ASSERT_EQ(
      Parse({"--config", file, "--redis", "unix:/other", "--camera", "c", "--source", "c.mp4"},
            settings),
      "");
  EXPECT_EQ(settings.redis.where, "unix:/other");
  EXPECT_EQ(settings.redis.user, "u");
  EXPECT_EQ(settings.password_file, "p");
  EXPECT_EQ(settings.shards, 4);
  EXPECT_EQ(settings.camera_set, "set");
  EXPECT_TRUE(settings.remove);
  EXPECT_EQ(settings.most_frames, 5);
  EXPECT_EQ(settings.timeout_s, 6);
  ASSERT_EQ(settings.cameras.size(), 3U);
  EXPECT_EQ(settings.cameras[0].source,
            (SourceSettings{.address = "rtsp://a", .fps = 2.5, .wait = 9}));
  EXPECT_EQ(settings.cameras[1].source,
            (SourceSettings{.address = "b.mp4", .loop = true, .width = 320, .quality = 50}));
  EXPECT_EQ(settings.cameras[2].id, "c");
}

TEST(SettingsTest, WhatIsWrongInAFileIsSaidWithoutAddresses) {
  for (const char* text :
       {"", "[]", "{\"redis\": 1}", "{\"unknown\": 1}", "{\"cameras\": []}",
        "{\"cameras\": {\"a\": 1}}",
        R"({"cameras": {"a": {"source": "rtsp://u:secret@a", "fps": "x"}}})",
        R"({"cameras": {"a": {"source": "rtsp://u:secret@a", "fps": 0}}})",
        R"({"cameras": {"a": {"source": "rtsp://u:secret@a", "loop": 1}}})",
        R"({"cameras": {"a": {"source": "rtsp://u:secret@a", "width": 2.5}}})",
        R"({"cameras": {"a": {"source": ["rtsp://u:secret@a"]}}})",
        R"({"cameras": {"a": {"adress": "rtsp://u:secret@a"}}})", R"({"shards": 100000})"}) {
    Settings settings;
    const absl::Status status = ReadConfig(text, settings);
    EXPECT_FALSE(status.ok()) << text;
    EXPECT_EQ(Message(status).find("secret"), std::string_view::npos) << Message(status);
  }
}

TEST(SettingsTest, WhatDoesNotFitTogetherIsRefused) {
  const Camera good{.id = "a", .source = {.address = "rtsp://a"}};
  const auto problem = [](std::vector<Camera> cameras, const char* redis = "unix:/r") {
    Settings settings;
    settings.redis.where = redis;
    settings.cameras = std::move(cameras);
    return std::string(Message(Check(settings)));
  };
  EXPECT_EQ(problem({good}), "");
  EXPECT_NE(problem({good}, "").find("--redis"), std::string::npos);
  EXPECT_NE(problem({}).find("--camera"), std::string::npos);
  EXPECT_NE(problem({good, good}).find("twice"), std::string::npos);
  EXPECT_NE(problem({{.id = "a", .source = {}}}).find("--source"), std::string::npos);
  EXPECT_NE(problem({{.id = "", .source = good.source}}).find("ID"), std::string::npos);
  EXPECT_NE(problem({{.id = "a\n", .source = good.source}}).find("ID"), std::string::npos);
  EXPECT_NE(problem({{.id = "a", .source = {.address = "/nowhere.mp4"}}}).find("no file"),
            std::string::npos);
  std::vector<Camera> many;
  for (std::size_t i = 0; i <= kMostSources; ++i) {
    many.push_back({.id = std::to_string(i), .source = {.address = "rtsp://" + std::to_string(i)}});
  }
  EXPECT_NE(problem(many).find("second"), std::string::npos);
}

TEST(SettingsTest, CamerasThatShowTheSameShareTheirSource) {
  const SourceSettings a{.address = "a.mp4", .fps = 5};
  const SourceSettings smaller{.address = "a.mp4", .fps = 5, .width = 320};
  const std::vector<Source> sources =
      SourcesOf({{"1", a}, {"2", smaller}, {"3", a}, {"4", {.address = "b"}}});
  ASSERT_EQ(sources.size(), 3U);
  EXPECT_EQ(sources[0].cameras, (std::vector<std::string>{"1", "3"}));
  EXPECT_EQ(sources[1].cameras, (std::vector<std::string>{"2"}));
  EXPECT_EQ(sources[1].settings, smaller);
}

}  // namespace
}  // namespace inferpool::feeder
