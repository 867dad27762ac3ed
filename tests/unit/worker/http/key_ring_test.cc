#include "worker/http/key_ring.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "shared/base/log.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class KeyRingTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { log::Init(log::Level::kError, "test"); }

  static ApiKey Key(const std::string& name) {
    return {.name = name, .sha256 = Sha256Of("ip_" + name)};
  }
  // As the command does it: another file takes the place.
  void Write(const std::vector<ApiKey>& keys) const {
    std::ofstream(file_ + ".new") << SerializeApiKeys(keys);
    std::filesystem::rename(file_ + ".new", file_);
  }
  // The name of whom the headers let in, or the problem's detail.
  std::string Who(KeyRing& ring, const std::vector<std::pair<std::string, std::string>>& headers) {
    fcgi::Request request;
    request.headers = headers;
    const auto who = ring.Identify(request, now_, wall_now_);
    if (const auto* problem = std::get_if<Problem>(&who)) {
      EXPECT_EQ(problem->status, 401);
      EXPECT_EQ(problem->code, "unauthorized");
      return problem->detail;
    }
    return std::get<0>(who)->key.name;
  }
  std::string Who(KeyRing& ring, const std::string& key) { return Who(ring, {{"x-api-key", key}}); }

  const test::TemporaryFolder folder_;
  const std::string file_ = folder_ / "keys.json";
  const std::unique_ptr<RateLimiter> limiter_ = std::make_unique<RateLimiter>();
  TimePoint now_ = Clock::now();
  WallTime wall_now_ = std::chrono::system_clock::now();
  const std::string unknown_ = "this API key is unknown or has expired";
};

TEST_F(KeyRingTest, AKeyComesInEitherHeader) {
  Write({Key("shop"), Key("lab")});
  KeyRing ring(file_, *limiter_, now_);
  EXPECT_TRUE(ring.has_keys());
  EXPECT_EQ(Who(ring, {{"authorization", "Bearer ip_shop"}}), "shop");
  EXPECT_EQ(Who(ring, {{"authorization", "BEARER  ip_lab"}}), "lab");
  EXPECT_EQ(Who(ring, {{"x-api-key", "ip_lab"}}), "lab");
  EXPECT_EQ(Who(ring, {{"authorization", "Bearer ip_shop"}, {"x-api-key", "ip_shop"}}), "shop");
  EXPECT_NE(Who(ring, {{"authorization", "Bearer ip_shop"}, {"x-api-key", "ip_lab"}}).find("two"),
            std::string::npos);
  for (const char* none : {"", "Bearer", "Bearer ", "ip_shop", "Basic ip_shop", "Bearerip_shop"}) {
    EXPECT_NE(Who(ring, {{"authorization", none}}).find("is needed"), std::string::npos) << none;
  }
  for (const char* unknown : {"ip_sho", "ip_shopp", "IP_SHOP", "shop", " ip_shop"}) {
    EXPECT_EQ(Who(ring, unknown), unknown_) << unknown;
  }
}

TEST_F(KeyRingTest, ItsTimeEndsAKey) {
  ApiKey key = Key("shop");
  key.expires = "2027-06-30T12:00:00Z";
  Write({key});
  KeyRing ring(file_, *limiter_, now_);
  wall_now_ = *ParseExpiry(key.expires) - milliseconds(1);
  EXPECT_EQ(Who(ring, "ip_shop"), "shop");
  wall_now_ += milliseconds(1);
  EXPECT_EQ(Who(ring, "ip_shop"), unknown_);
}

TEST_F(KeyRingTest, AChangeIsSeenAfterASecond) {
  Write({Key("shop")});
  KeyRing ring(file_, *limiter_, now_);
  Write({Key("lab")});
  now_ += milliseconds(999);
  EXPECT_EQ(Who(ring, "ip_lab"), unknown_);
  EXPECT_EQ(Who(ring, "ip_shop"), "shop");
  now_ += milliseconds(1);
  EXPECT_EQ(Who(ring, "ip_lab"), "lab");
  EXPECT_EQ(Who(ring, "ip_shop"), unknown_);
}

TEST_F(KeyRingTest, AFileThatHasNotChangedIsNotReadAgain) {
  Write({Key("shop")});
  KeyRing ring(file_, *limiter_, now_);
  fcgi::Request request;
  request.headers = {{"x-api-key", "ip_shop"}};
  const auto first = std::get<0>(ring.Identify(request, now_, wall_now_));
  for (int look = 0; look < 3; ++look) {
    now_ += seconds(2);
    EXPECT_EQ(std::get<0>(ring.Identify(request, now_, wall_now_)), first) << look;
  }
  Write({Key("shop"), Key("lab")});
  now_ += seconds(2);
  const auto second = std::get<0>(ring.Identify(request, now_, wall_now_));
  EXPECT_NE(second, first);
  now_ += seconds(2);
  EXPECT_EQ(std::get<0>(ring.Identify(request, now_, wall_now_)), second);
}

TEST_F(KeyRingTest, AFileThatTurnsBadOrGoesLeavesTheKeys) {
  Write({Key("shop")});
  KeyRing ring(file_, *limiter_, now_);
  std::ofstream(file_) << "{";
  now_ += seconds(1);
  EXPECT_EQ(Who(ring, "ip_shop"), "shop");
  std::filesystem::remove(file_);
  now_ += seconds(1);
  EXPECT_EQ(Who(ring, "ip_shop"), "shop");
  Write({Key("lab")});
  now_ += seconds(1);
  EXPECT_EQ(Who(ring, "ip_lab"), "lab");
}

TEST_F(KeyRingTest, WithoutAGoodFileNobodyIsLetInUntilThereIsOne) {
  KeyRing ring(file_, *limiter_, now_);
  EXPECT_FALSE(ring.has_keys());
  EXPECT_EQ(Who(ring, "ip_shop"), unknown_);
  Write({Key("shop")});
  now_ += seconds(1);
  EXPECT_EQ(Who(ring, "ip_shop"), "shop");
  EXPECT_TRUE(ring.has_keys());
}

TEST_F(KeyRingTest, ANameKeepsItsMeterFromFileToFile) {
  Write({Key("shop")});
  KeyRing ring(file_, *limiter_, now_);
  limiter_->Find("shop")->Admit({}, now_);
  fcgi::Request request;
  request.headers = {{"x-api-key", "ip_shop"}};
  const auto before = std::get<0>(ring.Identify(request, now_, wall_now_));
  Write({Key("lab"), Key("shop")});
  now_ += seconds(1);
  const auto after = std::get<0>(ring.Identify(request, now_, wall_now_));
  EXPECT_NE(before, after);
  EXPECT_EQ(before->meter, after->meter);
  EXPECT_EQ(after->meter, limiter_->Find("shop"));
}

TEST_F(KeyRingTest, AKeyWithoutAPlaceIsMeteredByTheWorkerAlone) {
  for (std::size_t i = 0; i < RateLimiter::kMaxKeys; ++i) {
    ASSERT_NE(limiter_->Find("key-" + std::to_string(i)), nullptr);
  }
  ApiKey key = Key("shop");
  key.rate = {.per_s = 1, .burst = 2};
  Write({key});
  KeyRing ring(file_, *limiter_, now_);
  fcgi::Request request;
  request.headers = {{"x-api-key", "ip_shop"}};
  const auto holder = std::get<0>(ring.Identify(request, now_, wall_now_));
  ASSERT_NE(holder->meter, nullptr);
  EXPECT_TRUE(holder->meter->Admit(key.rate, now_).allowed);
  EXPECT_TRUE(holder->meter->Admit(key.rate, now_).allowed);
  EXPECT_FALSE(holder->meter->Admit(key.rate, now_).allowed);
}

TEST_F(KeyRingTest, ThreadsMayAskWhileTheFileChanges) {
  Write({Key("shop")});
  KeyRing ring(file_, *limiter_, now_);
  std::atomic<bool> stop = false;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      fcgi::Request request;
      request.headers = {{"x-api-key", "ip_shop"}};
      for (TimePoint now = now_; !stop; now += milliseconds(300)) {
        EXPECT_EQ(ring.Identify(request, now, wall_now_).index(), 0U);
      }
    });
  }
  for (int i = 0; i < 200; ++i) Write({Key("other-" + std::to_string(i)), Key("shop")});
  stop = true;
}

}  // namespace
}  // namespace inferpool::http
