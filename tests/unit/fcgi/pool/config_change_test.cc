#include "fcgi/pool/config_change.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "fcgi/pool/roles.h"

namespace inferpool::fcgi {
namespace {

using Names = std::vector<std::string>;

enum : int { kWorkers, kSidecar, kModels };

ConfigChange Compare(const Config& before, const Config& after) {
  const RoleTable roles = {
      {.name = "worker",
       .seats = {},
       .replaced_by = {ReloadEffect::kWorkers, ReloadEffect::kClients, ReloadEffect::kAll},
       .run = {}},
      {.name = "sidecar",
       .seats = {},
       .replaced_by = {ReloadEffect::kClients, ReloadEffect::kAll},
       .run = {}},
      {.name = "modelserver",
       .seats = {},
       .replaced_by = {ReloadEffect::kModels, ReloadEffect::kAll},
       .run = {}}};
  return fcgi::Compare(roles, before, after);
}

TEST(ConfigChangeTest, WhereNothingDiffersNothingIsAsked) {
  const ConfigChange change = Compare(Config(), Config());
  EXPECT_TRUE(change.keys.empty());
  EXPECT_TRUE(change.roll.empty());
  EXPECT_EQ(change.Describe(), "nothing has changed");
}

TEST(ConfigChangeTest, AKeyOfTheMastersReplacesNobody) {
  Config after;
  after.workers = 7;
  const ConfigChange change = Compare(Config(), after);
  EXPECT_EQ(change.keys, Names{"workers"});
  EXPECT_TRUE(change.roll.empty());
  EXPECT_TRUE(change.at_start.empty());
  EXPECT_EQ(change.Describe(), "changed: workers");
}

TEST(ConfigChangeTest, EachRoleThatUsesAChangedKeyIsReplacedOnce) {
  Config after;
  after.predict.iou = 0.5;
  EXPECT_EQ(Compare(Config(), after).roll, std::vector<int>{kWorkers});
  after.predict.confidence = 0.5;
  after.log.level = "debug";
  EXPECT_EQ(Compare(Config(), after).roll, (std::vector<int>{kWorkers, kSidecar}));
  after.modelserver.repository = "/elsewhere";
  EXPECT_EQ(Compare(Config(), after).roll, (std::vector<int>{kWorkers, kSidecar, kModels}));
  EXPECT_EQ(Compare(Config(), after).keys.size(), 4U);
  after = {};
  after.backend.message_mb = 512;  // the ends of one wire
  EXPECT_EQ(Compare(Config(), after).roll, (std::vector<int>{kWorkers, kSidecar, kModels}));
}

TEST(ConfigChangeTest, ARoleIsReplacedByWhatItsRowSays) {
  Config after;
  after.predict.iou = 0.5;
  for (const auto& [row, rolled] : std::vector<std::pair<std::vector<ReloadEffect>, bool>>{
           {{}, false},
           {{ReloadEffect::kWorkers}, true},
           {{ReloadEffect::kModels}, false},
           {{ReloadEffect::kModels, ReloadEffect::kWorkers}, true}}) {
    const RoleTable roles = {{.name = "worker", .seats = {}, .replaced_by = {}, .run = {}},
                             {.name = "beacon", .seats = {}, .replaced_by = row, .run = {}}};
    EXPECT_EQ(fcgi::Compare(roles, Config(), after).roll,
              rolled ? std::vector<int>{1} : std::vector<int>{});
  }
}

TEST(ConfigChangeTest, WhatOnlyANewStartCanChangeIsNamed) {
  Config after;
  after.sidecar.port = 9191;
  after.state = "/elsewhere";
  EXPECT_EQ(Compare(Config(), after).at_start, (Names{"state", "sidecar.port"}));
}

TEST(ConfigChangeTest, AKeyOfTheWorkersMayBeNginxsToo) {
  for (const auto& [name, change] :
       std::initializer_list<std::pair<const char*, void (*)(Config&)>>{
           {"limits.body_mb", [](Config& c) { ++c.limits.body_mb; }},
           {"timeouts.request_s", [](Config& c) { ++c.timeouts.request_s; }},
           {"timeouts.start_s", [](Config& c) { ++c.timeouts.start_s; }},
           {"timeouts.io_s", [](Config& c) { ++c.timeouts.io_s; }},
           {"nginx.base_path", [](Config& c) { c.nginx.base_path = "/vision"; }}}) {
    Config after;
    change(after);
    const ConfigChange found = Compare(Config(), after);
    EXPECT_EQ(found.keys, Names{name});
    EXPECT_EQ(found.nginx, Names{name});
    EXPECT_NE(found.Describe().find("rendered again"), std::string::npos) << found.Describe();
  }
  Config after;
  ++after.limits.body_mb;
  EXPECT_EQ(Compare(Config(), after).roll, std::vector<int>{kWorkers}) << "besides";
}

TEST(ConfigChangeTest, WhatNginxHasToBeToldOfIsSaid) {
  Config after;
  after.nginx.burst = 1;
  const ConfigChange change = Compare(Config(), after);
  EXPECT_EQ(change.nginx, Names{"nginx.burst"});
  EXPECT_TRUE(change.roll.empty());
  EXPECT_NE(change.Describe().find("changed: nginx.burst"), std::string::npos);
  EXPECT_NE(change.Describe().find("rendered again"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::fcgi
