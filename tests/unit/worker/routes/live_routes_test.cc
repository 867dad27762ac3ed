#include "worker/routes/live_routes.h"

#include <gtest/gtest.h>

#include <thread>

#include "shared/base/log.h"
#include "shared/base/replace_file.h"
#include "shared/config/routes_key.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool::routes {
namespace {

class LiveRoutesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { log::Init(log::Level::kInfo, "test"); }

  LiveRoutesTest() { configured_["a"] = {.model = "m", .version = "1"}; }

  void Write(const std::string& version, std::int64_t number) {
    RoutesFile file{.configuration = DigestOf(configured_)};
    file.routes["a"] = {.model = "m", .version = version};
    AddChange(file, {.number = number, .what = "set a"});
    WriteText(SerializeRoutesFile(file));
  }
  void WriteText(const std::string& text) { ASSERT_TRUE(ReplaceFile(path_, text).ok()); }

  std::string VersionOf(const LiveRoutes& routes) { return routes.Current()->at("a").version; }
  std::int64_t Change() { return slot().routes_change; }
  WorkerSlot& slot() { return board_.slot(0); }

  const test::TemporaryFolder folder_;
  const std::string path_ = folder_ / "routes.json";
  const std::string kept_ = folder_ / "children/routes.json";
  Config::Routes configured_;
  const Scoreboard board_ = test::OccupiedBoard(1, 1);
};

TEST_F(LiveRoutesTest, TheConfigurationCountsWhileThereIsNoFile) {
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "1");
  EXPECT_EQ(Change(), 0);
  EXPECT_EQ(slot().routes_configured, DigestOf(configured_));
}

TEST_F(LiveRoutesTest, TheFileCountsFromTheStartAndWhenItChanges) {
  Write("2", 1);
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "2");
  EXPECT_EQ(Change(), 1);
  Write("3", 2);
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "3");
  EXPECT_EQ(Change(), 2);
  std::filesystem::remove(path_);
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "1");
}

TEST_F(LiveRoutesTest, ItIsLookedAtWithoutBeingAsked) {
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  const TimePoint begin = Clock::now();
  Write("2", 1);
  while (VersionOf(routes) != "2" && Clock::now() - begin < std::chrono::seconds(5)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(VersionOf(routes), "2");
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
}

TEST_F(LiveRoutesTest, ABadFileChangesNothing) {
  Write("2", 1);
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  for (const char* text : {"", "{", R"({"configuration": "0"})"}) {
    WriteText(text);
    routes.Look();
    EXPECT_EQ(VersionOf(routes), "2") << text;
    EXPECT_EQ(Change(), 1);
  }
  Write("3", 2);
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "3");
}

TEST_F(LiveRoutesTest, WhatCannotBeReadChangesNothingAndSaysWhy) {
  Write("2", 1);
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_EQ(routes.file_problem(), "");
  std::filesystem::remove(path_);
  std::filesystem::create_symlink(path_, path_);
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "2");
  EXPECT_NE(routes.file_problem(), "");
  WriteText("{");
  routes.Look();
  EXPECT_NE(routes.file_problem(), "");
  Write("3", 2);
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "3");
  EXPECT_EQ(routes.file_problem(), "");
}

TEST_F(LiveRoutesTest, AWorkerThatBeginsWithABadFileSaysSo) {
  WriteText("{");
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "1");
  EXPECT_NE(routes.file_problem(), "");
}

TEST_F(LiveRoutesTest, AWorkerThatBeginsWithABadFileGoesByTheLastGoodOne) {
  Write("2", 1);
  { const LiveRoutes earlier(configured_, path_, kept_, board_.pool(), slot()); }
  WriteText("{");
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "2");
  EXPECT_EQ(Change(), 1);
  EXPECT_NE(routes.file_problem(), "");
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "2");
  Write("3", 2);
  routes.Look();
  EXPECT_EQ(VersionOf(routes), "3");
  EXPECT_EQ(routes.file_problem(), "");
  WriteText("{");
  configured_["a"].fallback = "b";
  EXPECT_EQ(VersionOf({configured_, path_, kept_, board_.pool(), slot()}), "1")
      << "it was made from another configuration";
}

TEST_F(LiveRoutesTest, WhatWasTakenAwayDoesNotComeBack) {
  Write("2", 1);
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  std::filesystem::remove(path_);
  routes.Look();
  EXPECT_FALSE(std::filesystem::exists(kept_));
  WriteText("{");
  EXPECT_EQ(VersionOf({configured_, path_, kept_, board_.pool(), slot()}), "1");
}

TEST_F(LiveRoutesTest, WithoutAPlaceForTheCopyTheRoutesAreTaken) {
  test::WriteFile(folder_ / "children", "no folder");
  Write("2", 1);
  testing::internal::CaptureStderr();
  const LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_NE(testing::internal::GetCapturedStderr().find("no copy"), std::string::npos);
  EXPECT_EQ(VersionOf(routes), "2");
}

TEST_F(LiveRoutesTest, EachChangeIsLoggedOnce) {
  RoutesFile file{.configuration = DigestOf(configured_), .routes = configured_};
  const auto write = [&](std::int64_t number, const std::string& what) {
    AddChange(file, {.number = number, .what = what});
  };
  const auto logged = [](const std::string& log, const std::string& what) {
    std::size_t count = 0;
    for (auto at = log.find(what); at != std::string::npos; at = log.find(what, at + 1)) ++count;
    return count;
  };
  write(1, "first-change");
  write(2, "second-change");
  WriteText(SerializeRoutesFile(file));
  testing::internal::CaptureStderr();
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  LiveRoutes others(configured_, path_, kept_, board_.pool(), slot());
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(logged(log, "first-change"), 0U) << "before the pool started";
  EXPECT_EQ(logged(log, "second-change"), 1U);
  testing::internal::CaptureStderr();
  write(3, "third-change");
  write(4, "fourth-change");  // by another shell, before any worker looked
  WriteText(SerializeRoutesFile(file));
  routes.Look();
  others.Look();
  log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(logged(log, "second-change"), 0U);
  EXPECT_EQ(logged(log, "third-change"), 1U) << log;
  EXPECT_EQ(logged(log, "fourth-change"), 1U) << log;
}

TEST_F(LiveRoutesTest, AnotherConfigurationCounts) {
  Write("2", 1);
  configured_["a"].fallback = "b";
  LiveRoutes routes(configured_, path_, kept_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "1");
  EXPECT_EQ(Change(), 0);
}

}  // namespace
}  // namespace inferpool::routes
