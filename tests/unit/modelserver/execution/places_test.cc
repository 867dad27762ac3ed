#include "modelserver/execution/places.h"

#include <gtest/gtest.h>

#include <list>

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kNoBound = std::size_t{1} << 40;

// A model that keeps all the places it gets.
class Busy {
 public:
  explicit Busy(Places& places, std::size_t always = 0) : share_(places, always) {}

  // Whether there was one more.
  bool Take(std::size_t bytes = 0) {
    if (held_.emplace_back(share_, bytes).granted()) return true;
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
  Share share_;
  std::list<Share::Place> held_;
};

TEST(Places, OneModelHasHalfOfAll) {
  Places places({.requests = 100, .bytes = kNoBound});
  Busy one(places);
  EXPECT_EQ(one.TakeAll(), 50U);
  one.Give(10);
  EXPECT_EQ(one.TakeAll(), 10U);
}

TEST(Places, WhatIsLeftIsTheNextOnes) {
  Places places({.requests = 100, .bytes = kNoBound});
  Busy first(places);
  Busy second(places);
  Busy third(places);
  EXPECT_EQ(first.TakeAll(), 50U);
  EXPECT_EQ(second.TakeAll(), 25U);
  EXPECT_TRUE(third.Take());
}

TEST(Places, InTimeTheBusyHaveEquallyMany) {
  Places places({.requests = 120, .bytes = kNoBound});
  std::array<Busy, 3> models{Busy(places), Busy(places), Busy(places)};
  for (int round = 0; round < 1000; ++round) {
    for (Busy& model : models) {
      model.TakeAll();
      model.Give(1);
    }
  }
  for (const Busy& model : models) EXPECT_NEAR(static_cast<double>(model.held()), 30, 1);
}

TEST(Places, AnIdleInstanceIsAlwaysWithinReach) {
  Places places({.requests = 4, .bytes = 100});
  Busy first(places);
  Busy second(places);
  first.TakeAll();
  second.TakeAll();
  Busy third(places);
  third.TakeAll();
  EXPECT_FALSE(Busy(places).Take());
  Busy idle(places, 2);
  EXPECT_EQ(idle.TakeAll(1000), 2U);  // and then there are more than most
  EXPECT_FALSE(first.Take());
  idle.Give(2);
  first.Give(2);
  EXPECT_TRUE(first.Take());
}

TEST(Places, BytesAreSharedAsRequestsAre) {
  Places places({.requests = kNoBound, .bytes = 1000});
  Busy first(places);
  EXPECT_FALSE(first.Take(501));
  EXPECT_TRUE(first.Take(500));
  EXPECT_FALSE(first.Take(1));
  EXPECT_TRUE(first.Take(0));
  Busy second(places);
  EXPECT_EQ(second.TakeAll(10), 25U);
  first.Give(2);
  EXPECT_EQ(second.TakeAll(10), 25U);
}

}  // namespace
}  // namespace inferpool::modelserver
