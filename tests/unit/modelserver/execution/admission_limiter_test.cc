#include "modelserver/execution/admission_limiter.h"

#include <gtest/gtest.h>

#include <list>

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kNoBound = std::size_t{1} << 40;

// A model that keeps every admission that it gets.
class Busy {
 public:
  explicit Busy(AdmissionLimiter& limiter, std::size_t always = 0) : quota_(limiter, always) {}

  // Whether there was one more.
  bool Take(std::size_t bytes = 0) {
    if (held_.emplace_back(quota_, bytes).granted()) return true;
    held_.pop_back();
    return false;
  }
  // All it can get; how many that were.
  std::size_t TakeAll(std::size_t bytes = 0) {
    std::size_t taken = 0;
    while (Take(bytes)) ++taken;
    return taken;
  }
  void Give(std::size_t count) {
    for (; count > 0; --count) held_.pop_back();
  }
  std::size_t held() const { return held_.size(); }

 private:
  ModelQuota quota_;
  std::list<Admission> held_;
};

TEST(AdmissionLimiter, OneModelHasHalfOfAll) {
  AdmissionLimiter limiter({.requests = 100, .bytes = kNoBound});
  Busy one(limiter);
  EXPECT_EQ(one.TakeAll(), 50U);
  one.Give(10);
  EXPECT_EQ(one.TakeAll(), 10U);
}

TEST(AdmissionLimiter, WhatIsLeftIsTheNextOnes) {
  AdmissionLimiter limiter({.requests = 100, .bytes = kNoBound});
  Busy first(limiter);
  Busy second(limiter);
  Busy third(limiter);
  EXPECT_EQ(first.TakeAll(), 50U);
  EXPECT_EQ(second.TakeAll(), 25U);
  EXPECT_TRUE(third.Take());
}

TEST(AdmissionLimiter, InTimeTheBusyHaveEquallyMany) {
  AdmissionLimiter limiter({.requests = 120, .bytes = kNoBound});
  std::array<Busy, 3> models{Busy(limiter), Busy(limiter), Busy(limiter)};
  for (int round = 0; round < 1000; ++round) {
    for (Busy& model : models) {
      model.TakeAll();
      model.Give(1);
    }
  }
  for (const Busy& model : models) EXPECT_NEAR(static_cast<double>(model.held()), 30, 1);
}

TEST(AdmissionLimiter, AnIdleInstanceIsAlwaysWithinReach) {
  AdmissionLimiter limiter({.requests = 4, .bytes = 100});
  Busy first(limiter);
  Busy second(limiter);
  first.TakeAll();
  second.TakeAll();
  Busy third(limiter);
  third.TakeAll();
  EXPECT_FALSE(Busy(limiter).Take());
  Busy idle(limiter, 2);
  EXPECT_EQ(idle.TakeAll(1000), 2U);  // and then there are more than most
  EXPECT_FALSE(first.Take());
  idle.Give(2);
  first.Give(2);
  EXPECT_TRUE(first.Take());
}

TEST(AdmissionLimiter, BytesAreSharedAsRequestsAre) {
  AdmissionLimiter limiter({.requests = kNoBound, .bytes = 1000});
  Busy first(limiter);
  EXPECT_FALSE(first.Take(501));
  EXPECT_TRUE(first.Take(500));
  EXPECT_FALSE(first.Take(1));
  EXPECT_TRUE(first.Take(0));
  Busy second(limiter);
  EXPECT_EQ(second.TakeAll(10), 25U);
  first.Give(2);
  EXPECT_EQ(second.TakeAll(10), 25U);
}

}  // namespace
}  // namespace inferpool::modelserver
