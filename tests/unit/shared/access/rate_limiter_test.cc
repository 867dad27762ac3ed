#include "shared/access/rate_limiter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "shared/board/quarantine.h"

namespace inferpool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kStart = FromNs(1'000'000'000'000);

// In memory that children share.
struct SharedLimiter {
  SharedLimiter()
      : memory(mmap(nullptr, sizeof(RateLimiter), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {}
  ~SharedLimiter() { munmap(memory, sizeof(RateLimiter)); }
  RateLimiter& operator*() const { return *static_cast<RateLimiter*>(memory); }
  RateLimiter* operator->() const { return static_cast<RateLimiter*>(memory); }
  void* memory;
};

class RateMeterTest : public testing::Test {
 protected:
  // How many of `count` requests are let through at that time.
  int Allowed(const RateLimit& limit, int count, Clock::duration since) {
    int allowed = 0;
    for (int i = 0; i < count; ++i) allowed += meter_.Admit(limit, kStart + since).allowed ? 1 : 0;
    return allowed;
  }

  RateMeter meter_{};
};

TEST_F(RateMeterTest, WithoutALimitAllPass) {
  EXPECT_EQ(Allowed({}, 1000, seconds(0)), 1000);
  EXPECT_EQ(meter_.allowed(), 1000U);
}

TEST_F(RateMeterTest, TurnsAreTakenAllAtOnceOrNot) {
  const RateLimit limit{.per_s = 10, .burst = 5};
  EXPECT_EQ(meter_.Admit(limit, kStart).remaining, 4);
  const RateMeter::Decision taken = meter_.Take(limit, 3, kStart);
  EXPECT_TRUE(taken.allowed);
  EXPECT_EQ(taken.remaining, 1);
  const RateMeter::Decision refused = meter_.Take(limit, 3, kStart);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.remaining, 1) << "none was taken";
  EXPECT_EQ(refused.retry_after, milliseconds(200));
  EXPECT_FALSE(meter_.Take(limit, 3, kStart + milliseconds(199)).allowed);
  EXPECT_TRUE(meter_.Take(limit, 3, kStart + milliseconds(200)).allowed);
  EXPECT_EQ(Allowed(limit, 10, milliseconds(200)), 0);
  EXPECT_EQ(meter_.allowed(), 1U) << "a request is one, whatever it costs";
  EXPECT_EQ(meter_.limited(), 12U);
  // More than a burst never fit.
  EXPECT_TRUE(meter_.Take(limit, 5, kStart + seconds(100)).allowed);
  EXPECT_FALSE(meter_.Take(limit, 6, kStart + seconds(200)).allowed);
  EXPECT_TRUE(meter_.Take({}, 1000, kStart).allowed);
}

TEST_F(RateMeterTest, TurnsOfTheSlowestRateDoNotOverflow) {
  const RateLimit slowest{.per_s = 1e-12, .burst = 1'000'000};
  for (int i = 0; i < 5; ++i) meter_.Take(slowest, 1'000'000, kStart);
  EXPECT_FALSE(meter_.Take({.per_s = 1e-12, .burst = 1}, 256, kStart).allowed);
}

TEST_F(RateMeterTest, ABurstPassesAndThenTheRate) {
  const RateLimit limit{.per_s = 10, .burst = 5};
  EXPECT_EQ(Allowed(limit, 100, seconds(0)), 5);
  EXPECT_EQ(Allowed(limit, 100, milliseconds(99)), 0);
  EXPECT_EQ(Allowed(limit, 100, milliseconds(100)), 1);
  EXPECT_EQ(Allowed(limit, 100, milliseconds(400)), 3);
  EXPECT_EQ(Allowed(limit, 100, seconds(60)), 5) << "no more than a burst is saved";
  EXPECT_EQ(meter_.allowed(), 14U);
  EXPECT_EQ(meter_.limited(), 500U - 14U);
}

TEST_F(RateMeterTest, OverALongTimeTheRateIsExact) {
  const RateLimit limit{.per_s = 3, .burst = 2};
  int allowed = 0;
  for (int ms = 0; ms < 100'000; ms += 7) allowed += Allowed(limit, 1, milliseconds(ms));
  EXPECT_NEAR(allowed, 302, 1);
}

TEST_F(RateMeterTest, WhoIsRefusedLearnsWhenToComeAgain) {
  const RateLimit limit{.per_s = 0.5, .burst = 2};
  EXPECT_EQ(Allowed(limit, 2, seconds(0)), 2);
  const auto refused = meter_.Admit(limit, kStart + milliseconds(500));
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.retry_after, milliseconds(1500));
  EXPECT_FALSE(meter_.Admit(limit, kStart + milliseconds(1999)).allowed);
  EXPECT_TRUE(meter_.Admit(limit, kStart + milliseconds(2000)).allowed);
}

TEST_F(RateMeterTest, WhoIsLetThroughLearnsWhatIsLeft) {
  const RateLimit limit{.per_s = 2, .burst = 4};
  for (const int left : {3, 2, 1}) {
    const auto let = meter_.Admit(limit, kStart);
    EXPECT_TRUE(let.allowed);
    EXPECT_EQ(let.retry_after, milliseconds(0));
    EXPECT_EQ(let.remaining, left);
    EXPECT_EQ(let.restored_in, milliseconds(500) * (4 - left));
  }
  const auto last = meter_.Admit(limit, kStart);
  EXPECT_TRUE(last.allowed);
  EXPECT_EQ(last.remaining, 0);
  EXPECT_EQ(last.restored_in, milliseconds(500)) << "until there is one";
  const auto refused = meter_.Admit(limit, kStart + milliseconds(100));
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.remaining, 0);
  EXPECT_EQ(refused.restored_in, refused.retry_after);
  EXPECT_EQ(refused.restored_in, milliseconds(400));
  const auto later = meter_.Admit(limit, kStart + seconds(60));
  EXPECT_EQ(later.remaining, 3);
}

TEST_F(RateMeterTest, ALookCountsNothing) {
  const RateLimit limit{.per_s = 2, .burst = 4};
  EXPECT_EQ(meter_.Look(limit, kStart).remaining, 4);
  EXPECT_EQ(Allowed(limit, 3, seconds(0)), 3);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(meter_.Look(limit, kStart).allowed);
    EXPECT_EQ(meter_.Look(limit, kStart).remaining, 1);
  }
  EXPECT_EQ(meter_.allowed(), 3U);
  EXPECT_TRUE(meter_.Look({}, kStart).allowed);
}

TEST_F(RateMeterTest, WhatIsLeftIsNeverMoreThanABurst) {
  EXPECT_EQ(meter_.Admit({.per_s = 1e6, .burst = 1'000'000}, kStart).remaining, 999'999);
  EXPECT_EQ(meter_.Look({.per_s = 1e6, .burst = 1}, kStart + seconds(9)).remaining, 1);
}

TEST_F(RateMeterTest, AFasterLimitIsNotHeldBackByTheSlowerOneBefore) {
  EXPECT_EQ(Allowed({.per_s = 0.001, .burst = 10}, 20, seconds(0)), 10);
  const RateLimit faster{.per_s = 100, .burst = 1};
  EXPECT_EQ(Allowed(faster, 5, milliseconds(0)), 0);
  EXPECT_EQ(Allowed(faster, 5, milliseconds(10)), 1);
}

TEST_F(RateMeterTest, ExtremeLimitsDoNotOverflow) {
  EXPECT_EQ(Allowed({.per_s = 0.001, .burst = 1'000'000}, 1000, seconds(0)), 1000);
  EXPECT_EQ(Allowed({.per_s = 1e6, .burst = 1}, 10, seconds(1)), 0);
  EXPECT_EQ(Allowed({.per_s = 1e6, .burst = 1}, 10, seconds(2)), 1);
}

TEST_F(RateMeterTest, ThreadsShareOneLimit) {
  const RateLimit limit{.per_s = 1000, .burst = 50};
  std::atomic<int> allowed = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5000; ++i) {
          const TimePoint now = kStart + std::chrono::microseconds(i * 20);  // 100 ms in all
          if (meter_.Admit(limit, now).allowed) ++allowed;
        }
      });
    }
  }
  EXPECT_GE(allowed, 50);
  EXPECT_LE(allowed, 150);
  EXPECT_EQ(meter_.allowed(), static_cast<std::uint64_t>(allowed));
  EXPECT_EQ(meter_.allowed() + meter_.limited(), 20'000U);
}

TEST(RateLimiterTest, ANameHasOnePlace) {
  const SharedLimiter limiter;
  RateMeter* shop = limiter->Find("shop");
  ASSERT_NE(shop, nullptr);
  EXPECT_EQ(limiter->Find("shop"), shop);
  EXPECT_NE(limiter->Find("other"), shop);
  shop->Admit({}, kStart);
  std::vector<KeyRequests> list = limiter->List();
  ASSERT_EQ(list.size(), 2U);
  std::ranges::sort(list, {}, [](const KeyRequests& key) { return key.name.view(); });
  EXPECT_EQ(list[0].name.view(), "other");
  EXPECT_EQ(list[1].name.view(), "shop");
  EXPECT_EQ(list[1].allowed, 1U);
}

TEST(RateLimiterTest, AFullTableTakesNoNewNames) {
  const SharedLimiter limiter;
  std::set<RateMeter*> places;
  for (std::size_t i = 0; i < RateLimiter::kMaxKeys; ++i) {
    places.insert(limiter->Find(fmt::format("key-{}", i)));
  }
  EXPECT_EQ(places.size(), RateLimiter::kMaxKeys);
  EXPECT_FALSE(places.contains(nullptr));
  EXPECT_EQ(limiter->Find("one more"), nullptr);
  EXPECT_TRUE(places.contains(limiter->Find("key-7"))) << "those that are there stay";
}

TEST(RateLimiterTest, ThreadsThatClaimAtOnceAgree) {
  const SharedLimiter limiter;
  std::vector<std::vector<RateMeter*>> found(4);
  {
    std::vector<std::jthread> threads;
    for (auto& places : found) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) places.push_back(limiter->Find(fmt::format("key-{}", i)));
      });
    }
  }
  for (const auto& places : found) EXPECT_EQ(places, found[0]);
  EXPECT_EQ(limiter->List().size(), 200U);
}

TEST(RateLimiterTest, ProcessesThatAreKilledHoldNobodyUpAndTheLimitStands) {
  const SharedLimiter limiter;
  const RateLimit limit{.per_s = 1000, .burst = 100};
  const TimePoint begin = Clock::now();
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0;; ++i) {
        limiter->Find(fmt::format("key-{}", i % 500));
        limiter->Find("shop")->Admit(limit, Clock::now());
      }
    }
    ASSERT_GT(child, 0);
    std::this_thread::sleep_for(milliseconds(1 + round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ASSERT_NE(limiter->Find("shop"), nullptr);
    limiter->Find("shop")->Admit(limit, Clock::now());
  }
  const double passed = std::chrono::duration<double>(Clock::now() - begin).count();
  const auto allowed = static_cast<double>(limiter->Find("shop")->allowed());
  // A death may lose the count of the request that was let through at that very moment.
  EXPECT_LE(allowed, 100 + 1000 * passed + 1);
  EXPECT_GE(allowed, 100);
  for (const KeyRequests& key : limiter->List()) EXPECT_FALSE(key.name.view().empty());
}

}  // namespace
}  // namespace inferpool
