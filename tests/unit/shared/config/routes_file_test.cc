#include "shared/config/routes_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "shared/config/routes_key.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool {
namespace {

RoutesFile File() {
  Config::Routes routes;
  routes["objects"] = {
      .model = "yolo",
      .version = "3",
      .canary = Config::Route::Canary{.model = "yolo", .version = "4", .percent = 5},
      .fallback = "small"};
  return {.configuration = DigestOf(routes), .routes = routes};
}

TEST(RoutesFileTest, WhatIsWrittenReadsBack) {
  RoutesFile file = File();
  ASSERT_TRUE(PromoteRoute(file, "objects").ok());
  AddChange(file, {1, "2026-11-30T08:30:00Z", "a \"b\"", "promote objects"});
  const auto again = ParseRoutesFile(SerializeRoutesFile(file));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->configuration, file.configuration);
  EXPECT_EQ(ToJson(again->routes), ToJson(file.routes));
  EXPECT_EQ(ToJson(again->before), R"({"objects": {"model": "yolo", "version": 3}})");
  ASSERT_EQ(again->changes.size(), 1U);
  EXPECT_EQ(again->number(), 1);
  EXPECT_EQ(again->changes[0].by, "a \"b\"");
}

TEST(RoutesFileTest, ABadFileIsRefused) {
  const std::string good = SerializeRoutesFile(File());
  ASSERT_TRUE(ParseRoutesFile(good).ok());
  for (std::size_t length = 0; length + 2 < good.size(); length += 7) {
    EXPECT_FALSE(ParseRoutesFile(good.substr(0, length)).ok()) << length;
  }
  for (
      const char* text :
      {"", "[]", "{}", R"({"configuration": "5", "routes": {}, "before": {}, "changes": []})",
       R"({"configuration": "0123456789abcdef", "routes": {"a": {}}, "before": {}, "changes": []})",
       R"({"configuration": "0123456789abcdef", "routes": {}, "before": 5, "changes": []})",
       R"({"configuration": "0123456789abcdef", "routes": {}, "before": {}, "changes": [5]})"}) {
    EXPECT_FALSE(ParseRoutesFile(text).ok()) << text;
  }
  const test::TemporaryFolder folder;
  EXPECT_TRUE(absl::IsNotFound(LoadRoutesFile(folder / "routes.json").status()));
  std::filesystem::create_directory(folder / "folder");
  EXPECT_TRUE(absl::IsInvalidArgument(LoadRoutesFile(folder / "folder").status()));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), S_IRUSR | S_IWUSR), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(LoadRoutesFile(folder / "pipe").status()));
  std::filesystem::create_symlink(folder / "circle", folder / "circle");
  EXPECT_TRUE(absl::IsUnavailable(LoadRoutesFile(folder / "circle").status()));
  test::WriteFile(folder / "routes.json", "{");
  EXPECT_TRUE(absl::IsInvalidArgument(LoadRoutesFile(folder / "routes.json").status()));
}

TEST(RoutesFileTest, ItCountsUntilTheConfigurationChanges) {
  RoutesFile file = File();
  Config::Routes configured = file.routes;
  EXPECT_FALSE(file.CountsFor(configured)) << "nothing was changed";
  AddChange(file, {1, "", "", ""});
  file.routes.clear();
  EXPECT_TRUE(file.CountsFor(configured));
  configured["objects"].version = "2";
  EXPECT_FALSE(file.CountsFor(configured));
}

TEST(RoutesFileTest, MembersAreSetAndTakenAway) {
  RoutesFile file = File();
  ASSERT_TRUE(
      SetRoute(file, "objects",
               {"canary.percent=25", "shadow.model=rtdetr", "shadow.percent=100", "fallback=null"})
          .ok());
  EXPECT_EQ(ToJson(file.routes.at("objects")),
            R"({"model": "yolo", "version": 3, "canary": {"model": "yolo", "version": 4, )"
            R"("percent": 25, "by": "key"}, "shadow": {"model": "rtdetr", "percent": 100}})");
  ASSERT_TRUE(SetRoute(file, "objects", {"canary=null", "shadow=null", "version=null"}).ok());
  EXPECT_EQ(ToJson(file.routes.at("objects")), R"({"model": "yolo"})");
  ASSERT_TRUE(SetRoute(file, "faces", {R"({"model": "blaze", "version": "v1.0"})"}).ok());
  EXPECT_EQ(file.routes.at("faces").version, "v1.0");
  ASSERT_TRUE(SetRoute(file, "faces", {"null"}).ok());
  EXPECT_FALSE(file.routes.contains("faces"));
  EXPECT_TRUE(absl::IsNotFound(SetRoute(file, "faces", {"null"})));
}

TEST(RoutesFileTest, WhatWouldBeWrongIsNotSet) {
  RoutesFile file = File();
  const std::string before = ToJson(file.routes);
  for (const char* assignment :
       {"canary.percent=101", "version=1.5", "fallback=objects", "modell=x", "model=null", "{",
        R"({"version": 3})", "canary", "=5", "canary=5", "canary.model="}) {
    const absl::Status set = SetRoute(file, "objects", {assignment});
    EXPECT_TRUE(absl::IsInvalidArgument(set)) << assignment << " " << set;
    EXPECT_EQ(ToJson(file.routes), before) << assignment;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(SetRoute(file, "other", {"canary.percent=5"})));
}

TEST(RoutesFileTest, ARollbackTakesTheCanaryAwayAndThenThePromotionBack) {
  RoutesFile file = File();
  ASSERT_TRUE(PromoteRoute(file, "objects").ok());
  EXPECT_EQ(ToJson(file.routes.at("objects")),
            R"({"model": "yolo", "version": 4, "fallback": "small"})");
  EXPECT_TRUE(absl::IsFailedPrecondition(PromoteRoute(file, "objects"))) << "it has no canary";
  ASSERT_TRUE(
      SetRoute(file, "objects", {R"(canary={"model": "yolo", "version": 5, "percent": 1})"}).ok());
  ASSERT_TRUE(RollBackRoute(file, "objects").ok());
  EXPECT_EQ(file.routes.at("objects").version, "4");
  EXPECT_FALSE(file.routes.at("objects").canary);
  ASSERT_TRUE(RollBackRoute(file, "objects").ok());
  EXPECT_EQ(file.routes.at("objects").version, "3");
  EXPECT_TRUE(absl::IsFailedPrecondition(RollBackRoute(file, "objects")));
  EXPECT_TRUE(absl::IsNotFound(RollBackRoute(file, "none")));
  EXPECT_TRUE(absl::IsNotFound(PromoteRoute(file, "none")));
}

TEST(RoutesFileTest, AFewChangesAreRemembered) {
  RoutesFile file;
  for (int i = 1; i <= 100; ++i) AddChange(file, {i, "", "", ""});
  EXPECT_EQ(file.number(), 100);
  EXPECT_EQ(file.changes.size(), 20U);
}

}  // namespace
}  // namespace inferpool
