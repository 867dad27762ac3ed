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
  static void SetUpTestSuite() { log::Init(log::Level::kError, "test"); }

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
  Config::Routes configured_;
  const Scoreboard board_ = test::OccupiedBoard(1, 1);
};

TEST_F(LiveRoutesTest, TheConfigurationCountsWhileThereIsNoFile) {
  LiveRoutes routes(configured_, path_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "1");
  EXPECT_EQ(Change(), 0);
  EXPECT_EQ(slot().routes_configured, DigestOf(configured_));
}

TEST_F(LiveRoutesTest, TheFileCountsFromTheStartAndWhenItChanges) {
  Write("2", 1);
  LiveRoutes routes(configured_, path_, board_.pool(), slot());
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
  LiveRoutes routes(configured_, path_, board_.pool(), slot());
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
  LiveRoutes routes(configured_, path_, board_.pool(), slot());
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

TEST_F(LiveRoutesTest, AnotherConfigurationCounts) {
  Write("2", 1);
  configured_["a"].fallback = "b";
  LiveRoutes routes(configured_, path_, board_.pool(), slot());
  EXPECT_EQ(VersionOf(routes), "1");
  EXPECT_EQ(Change(), 0);
}

}  // namespace
}  // namespace inferpool::routes
