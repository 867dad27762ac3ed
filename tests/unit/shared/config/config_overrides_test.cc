// Values that come from the command line (--set key=value) and win over the file's.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "shared/config/config.h"
#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::HasOnly;
using test::IsGood;
using test::Parse;
using test::Print;
using test::Refuses;

TEST(ConfigOverridesTest, AnOverrideWinsOverTheFile) {
  const std::string file = R"({
    "workers": 2, "predict": {"iou": 0.1}, "log": {"access": false, "level": "info"},
    "state": "/in/file", "nginx": {"server_name": "file.org"}, "backend": {"targets": ["unix:/f"]}})";
  const ConfigResult result =
      Parse(file, {"workers=5", "predict.iou=0.75", "log.access=true", "log.level=error",
                   "state=/on/line", "nginx.server_name=line.org",
                   R"(backend.targets=["ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"])"});
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.workers, 5);
  EXPECT_EQ(result.config.predict.iou, 0.75);
  EXPECT_TRUE(result.config.log.access);
  EXPECT_EQ(result.config.log.level, "error");
  EXPECT_EQ(result.config.state, "/on/line");
  EXPECT_EQ(result.config.nginx.server_name, "line.org");
  EXPECT_EQ(result.config.backend.targets,
            (std::vector<std::string>{"ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"}));
  EXPECT_EQ(result.config.listen.socket, "/on/line/inferpool.sock");
}

TEST(ConfigOverridesTest, AnOverridesProblemNamesItsKeyAndNoLine) {
  EXPECT_TRUE(HasOnly(Parse("{}", {"workers=many"}), 0, "workers", "whole number from 0 to 512"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"workers=-1"}), 0, "workers", "is -1"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"workers="}), 0, "workers", "whole number"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"log.access=yes"}), 0, "log.access", "true or false"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"log.level=loud"}), 0, "log.level", "one of debug"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"predict.iou=1.5"}), 0, "predict.iou", "from 0 to 1"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"backend.targets=unix:/a"}), 0, "backend.targets", "a list"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"nginx.server_name=a\nb"}), 0, "nginx.server_name", "text"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"limits.bodymb=5"}), 0, "limits.bodymb", "limits.body_mb"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"workers"}), 0, "workers", "key=value"));
}

TEST(ConfigOverridesTest, AnOverridesProblemsComeTogetherWithTheFiles) {
  const ConfigResult result =
      Parse("{\"workers\": -1,\n\"threads\": 0}", {"log.level=x", "nope=1"});
  EXPECT_EQ(result.problems.size(), 4U) << Print(result.problems);
}

TEST(ConfigOverridesTest, AnOverrideMustBeJsonToItsEnd) {
  for (const char* value : {"4 5", "4abc", "4]", "4,5", "4 workers"}) {
    EXPECT_TRUE(Refuses(Parse("{}", {"workers=" + std::string(value)}), "workers")) << value;
  }
  EXPECT_TRUE(Refuses(Parse("{}", {"log.access=true false"}), "log.access"));
}

TEST(ConfigOverridesTest, ADeeplyNestedOverrideIsAProblemAndNoCrash) {
  EXPECT_TRUE(
      Refuses(Parse("{}", {"backend.targets=" + std::string(50'000, '[')}), "backend.targets"));
}

TEST(ConfigOverridesTest, AnOverridesTextIsTakenAsItStands) {
  const ConfigResult result = Parse("{}", {"nginx.server_name=5", "modelserver.listen=unix:/a=b"});
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.nginx.server_name, "5");
  EXPECT_EQ(result.config.modelserver.listen, "unix:/a=b");
}

TEST(ConfigOverridesTest, AnOverridesRelativePathIsBelowTheWorkingDirectory) {
  const ConfigResult result = Parse("{}", {"state=over/here"});
  EXPECT_EQ(result.config.state, (std::filesystem::current_path() / "over/here").string());
}

}  // namespace
}  // namespace inferpool
