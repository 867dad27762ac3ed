#include "ops/cli/pool_roles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string_view>

namespace inferpool::ops {
namespace {

bool IsReplacedBy(const fcgi::Role& role, ReloadEffect effect) {
  return std::ranges::find(role.replaced_by, effect) != role.replaced_by.end();
}

TEST(PoolRolesTest, EachRowIsWhole) {
  std::set<std::string_view> names;
  for (const fcgi::Role& role : PoolRoles()) {
    EXPECT_TRUE(names.insert(role.name).second) << role.name << " is there twice";
    EXPECT_EQ(RoleName(role.name).view(), role.name) << "it is too long for the scoreboard";
    ASSERT_NE(role.seats, nullptr) << role.name;
    EXPECT_LE(role.seats(Config()), role.max_seats) << role.name;
    EXPECT_TRUE(role.run) << role.name;
  }
}

TEST(PoolRolesTest, TheWorkersAreTheFirst) {
  EXPECT_EQ(PoolRoles().at(kWorkerRole).name, "worker");
}

TEST(PoolRolesTest, TheyHaveRoomInTheScoreboard) {
  const auto board = Scoreboard::Create(1, 1);
  ASSERT_TRUE(board.ok());
  fcgi::SetRoles(PoolRoles(), *board);
  const Totals totals = board->Sum(Clock::now());
  for (std::size_t i = 0; i < PoolRoles().size(); ++i) {
    EXPECT_EQ(totals.roles[i].name.view(), PoolRoles()[i].name);
  }
}

// Else a reload would say that it has replaced processes, and none would know of the change.
TEST(PoolRolesTest, WhatReplacesProcessesReplacesThoseOfSomeRole) {
  for (const ReloadEffect effect : {ReloadEffect::kWorkers, ReloadEffect::kClients,
                                    ReloadEffect::kModels, ReloadEffect::kAll}) {
    EXPECT_TRUE(std::ranges::any_of(PoolRoles(), [&](const fcgi::Role& role) {
      return IsReplacedBy(role, effect);
    })) << Describe(effect);
  }
  for (const ReloadEffect effect :
       {ReloadEffect::kMaster, ReloadEffect::kNginx, ReloadEffect::kStart}) {
    EXPECT_TRUE(std::ranges::none_of(PoolRoles(), [&](const fcgi::Role& role) {
      return IsReplacedBy(role, effect);
    })) << Describe(effect);
  }
}

}  // namespace
}  // namespace inferpool::ops
