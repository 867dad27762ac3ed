// backend::ModelDirectory: each rule, with a clock of the test's own and no server.
#include "worker/backend/rpc/model_directory.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace inferpool::backend {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using Has = ModelDirectory::Has;
using Servers = std::vector<std::size_t>;

constexpr TimePoint kStart{seconds(1'000)};
constexpr TimePoint kLater = kStart + seconds(5);

std::vector<ModelVersion> Index(const std::vector<std::string>& names) {
  std::vector<ModelVersion> index;
  for (const std::string& name : names) index.push_back({name, "1"});
  return index;
}

TEST(ModelDirectoryTest, AServerThatHasSaidNothingMayHaveAnything) {
  const ModelDirectory directory(2, {});
  EXPECT_EQ(directory.Look(0, {"faces"}), Has::kMaybe);
  EXPECT_EQ(directory.ServersFor({"faces"}), (Servers{0, 1}));
  EXPECT_TRUE(directory.Names().empty());
}

TEST(ModelDirectoryTest, ACallGoesToThoseThatHaveTheModel) {
  ModelDirectory directory(3, {});
  directory.TookIndex(0, Index({"a", "b"}), kStart);
  directory.TookIndex(1, Index({"b", "c"}), kStart);
  directory.TookIndex(2, Index({}), kStart);
  EXPECT_EQ(directory.ServersFor({"a"}), Servers{0});
  EXPECT_EQ(directory.ServersFor({"b"}), (Servers{0, 1}));
  EXPECT_EQ(directory.ServersFor({"c"}), Servers{1});
  EXPECT_EQ(directory.ServersFor({"none"}), (Servers{0, 1, 2})) << "they say so themselves";
  EXPECT_EQ(directory.Names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(directory.HasAnotherThan(0, {"b"}));
  EXPECT_FALSE(directory.HasAnotherThan(0, {"a"}));
}

TEST(ModelDirectoryTest, AServerThatHasItIsBetterThanOneThatMay) {
  ModelDirectory directory(2, {});
  directory.TookIndex(0, Index({"a"}), kStart);
  EXPECT_EQ(directory.ServersFor({"a"}), Servers{0});
  EXPECT_EQ(directory.ServersFor({"b"}), Servers{1}) << "the first is known not to have it";
}

TEST(ModelDirectoryTest, VersionsAreToldApart) {
  ModelDirectory directory(2, {});
  directory.TookIndex(0, std::vector<ModelVersion>{{"a", "1"}}, kStart);
  directory.TookIndex(1, std::vector<ModelVersion>{{"a", "1"}, {"a", "2"}}, kStart);
  EXPECT_EQ(directory.ServersFor({"a", "2"}), Servers{1});
  EXPECT_EQ(directory.ServersFor({"a", "1"}), (Servers{0, 1}));
  EXPECT_EQ(directory.ServersFor({"a"}), (Servers{0, 1}));
  EXPECT_EQ(directory.ReadyOn(1), (std::vector<ModelDirectory::Ready>{{"a", {"1", "2"}}}));
}

TEST(ModelDirectoryTest, AnIndexWithoutVersionsSaysNothingOfThem) {
  ModelDirectory directory(1, {});
  directory.TookIndex(0, std::vector<ModelVersion>{{"a", ""}}, kStart);
  EXPECT_EQ(directory.Look(0, {"a"}), Has::kYes);
  EXPECT_EQ(directory.Look(0, {"a", "3"}), Has::kMaybe);
  EXPECT_EQ(directory.Look(0, {"b", "3"}), Has::kNo);
}

TEST(ModelDirectoryTest, AModelThatMovedIsWhereTheIndexesSay) {
  ModelDirectory directory(2, {});
  directory.TookIndex(0, Index({"a"}), kStart);
  directory.TookIndex(1, Index({}), kStart);
  directory.TookIndex(0, Index({}), kLater);
  directory.TookIndex(1, Index({"a"}), kLater);
  EXPECT_EQ(directory.ServersFor({"a"}), Servers{1});
  EXPECT_TRUE(directory.Knows(0, {"a"}, kLater));
  EXPECT_FALSE(directory.Knows(0, {"a"}, kLater + seconds(1)));
}

TEST(ModelDirectoryTest, ItIsKnownSinceWhenAServerHasLostAModel) {
  ModelDirectory directory(2, {});
  directory.TookIndex(0, Index({"a", "b"}), kStart);
  EXPECT_EQ(directory.LostAt("a"), TimePoint());
  directory.TookIndex(0, Index({"b"}), kLater);
  EXPECT_EQ(directory.LostAt("a"), kLater);
  EXPECT_EQ(directory.LostAt("b"), TimePoint());
  directory.TookIndex(0, Index({"b"}), kLater + seconds(1));
  EXPECT_EQ(directory.LostAt("a"), kLater) << "the first time that it was not there";

  directory.TookIndex(0, Index({"a", "b"}), kLater + seconds(1));
  EXPECT_EQ(directory.LostAt("a"), TimePoint()) << "it has it again";
  directory.TookIndex(0, Index({"b"}), kLater);

  directory.TookNoIndex(1, kStart);
  directory.TookReadiness(1, {"a"}, false, kLater + seconds(2));
  EXPECT_EQ(directory.LostAt("a"), kLater) << "this one never had it";
  directory.TookReadiness(1, {"a"}, true, kLater + seconds(3));
  directory.TookReadiness(1, {"a"}, false, kLater + seconds(4));
  EXPECT_EQ(directory.LostAt("a"), kLater + seconds(4));
  directory.TookReadiness(1, {"a"}, true, kLater + seconds(5));
  EXPECT_EQ(directory.LostAt("a"), kLater);
}

TEST(ModelDirectoryTest, WithoutAnIndexItIsAskedModelByModel) {
  ModelDirectory directory(1, {"named"});
  EXPECT_TRUE(directory.AsksForIndex(0, kStart));
  directory.TookNoIndex(0, kStart);
  EXPECT_FALSE(directory.AsksForIndex(0, kStart + seconds(59)));
  EXPECT_TRUE(directory.AsksForIndex(0, kStart + minutes(1))) << "it may have been replaced";
  EXPECT_EQ(directory.Questions(0), std::vector<ModelVersion>{{"named"}});
  directory.Want({"a", "2"});
  EXPECT_EQ(directory.Questions(0), (std::vector<ModelVersion>{{"a", "2"}, {"named"}}));
  EXPECT_FALSE(directory.Knows(0, {"a", "2"}, kStart));
  directory.TookReadiness(0, {"a", "2"}, true, kStart);
  EXPECT_TRUE(directory.Knows(0, {"a", "2"}, kStart));
  EXPECT_EQ(directory.Look(0, {"a", "2"}), Has::kYes);
  EXPECT_EQ(directory.Look(0, {"a"}), Has::kYes);
  EXPECT_EQ(directory.Look(0, {"a", "3"}), Has::kMaybe);
  directory.TookReadiness(0, {"named"}, false, kStart);
  EXPECT_EQ(directory.Look(0, {"named"}), Has::kNo);
  EXPECT_EQ(directory.Look(0, {"named", "1"}), Has::kNo);
  EXPECT_EQ(directory.Names(), (std::vector<std::string>{"a", "named"}));
  directory.TookReadiness(0, {"a", "2"}, false, kLater);
  EXPECT_EQ(directory.Look(0, {"a", "2"}), Has::kNo);
  EXPECT_EQ(directory.Names(), std::vector<std::string>{"named"});
}

TEST(ModelDirectoryTest, WhatWasFoundIsAskedAboutFurther) {
  ModelDirectory directory(2, {});
  directory.TookNoIndex(0, kStart);
  directory.TookIndex(1, Index({"b"}), kStart);
  directory.Found(0, {"a"});
  directory.Found(1, {"stray"});  // whoever has an index has what is in it
  EXPECT_EQ(directory.Questions(0), (std::vector<ModelVersion>{{"a"}, {"b"}}))
      << "and what another server has";
  EXPECT_EQ(directory.Names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(directory.ServersFor({"a"}), Servers{0});
}

TEST(ModelDirectoryTest, AVersionThatWasFoundIsAskedAboutFurther) {
  ModelDirectory directory(1, {});
  directory.TookNoIndex(0, kStart);
  directory.Found(0, {"a", "2"});
  EXPECT_EQ(directory.Questions(0), (std::vector<ModelVersion>{{"a", "2"}}));
  EXPECT_EQ(directory.Look(0, {"a", "2"}), Has::kYes);
  EXPECT_EQ(directory.Look(0, {"a", "3"}), Has::kMaybe);
}

TEST(ModelDirectoryTest, WhatOneServerHasTheOthersAreAskedAbout) {
  ModelDirectory directory(2, {});
  directory.TookNoIndex(0, kStart);
  directory.TookNoIndex(1, kStart);
  directory.Found(0, {"a"});
  EXPECT_EQ(directory.ServersFor({"a"}), Servers{0});
  EXPECT_EQ(directory.Questions(1), std::vector<ModelVersion>{{"a"}});
  directory.TookReadiness(1, {"a"}, false, kStart);
  EXPECT_EQ(directory.Look(1, {"a"}), Has::kNo);
  EXPECT_TRUE(directory.Knows(1, {"a"}, kStart));
  directory.TookReadiness(1, {"a"}, true, kLater);
  EXPECT_EQ(directory.ServersFor({"a"}), (Servers{0, 1}));
}

TEST(ModelDirectoryTest, AServerThatSaysNothingOfModelsHasTold) {
  ModelDirectory directory(1, {});
  directory.TookNoIndex(0, kStart);
  directory.Found(0, {"a"});
  EXPECT_FALSE(directory.Told(0, kLater));
  directory.TookNothing(0, kLater);
  EXPECT_TRUE(directory.Told(0, kLater));
  EXPECT_EQ(directory.Look(0, {"a"}), Has::kYes);
}

TEST(ModelDirectoryTest, VersionsThatStrangersAskForAreBounded) {
  ModelDirectory directory(1, {});
  directory.TookNoIndex(0, kStart);
  for (int i = 0; i < 1'000; ++i) {
    const ModelVersion model{"a", std::to_string(i)};
    directory.Want(model);
    directory.TookReadiness(0, model, true, kStart);
  }
  EXPECT_LE(directory.Questions(0).size(), 64U);
  EXPECT_LE(directory.ReadyOn(0).front().versions.size(), 16U);
  directory.TookReadiness(0, {"a"}, true, kStart);
  directory.TookReadiness(0, {"a"}, false, kLater);
  EXPECT_FALSE(directory.Knows(0, {"a", "999"}, kStart)) << "nothing is kept of its versions";
}

TEST(ModelDirectoryTest, AServerMayLoseItsIndexOrGetOne) {
  ModelDirectory directory(1, {});
  directory.TookIndex(0, Index({"a"}), kStart);
  directory.TookNoIndex(0, kLater);
  EXPECT_EQ(directory.Look(0, {"a"}), Has::kYes) << "until it is asked";
  EXPECT_EQ(directory.Questions(0), (std::vector<ModelVersion>{{"a", "1"}}));
  EXPECT_EQ(directory.Look(0, {"b"}), Has::kMaybe);
  directory.TookIndex(0, Index({"b"}), kLater);
  EXPECT_EQ(directory.Look(0, {"a"}), Has::kNo);
}

TEST(ModelDirectoryTest, WhatStrangersAskForIsForgotten) {
  ModelDirectory directory(1, {});
  directory.TookNoIndex(0, kStart);
  for (int i = 0; i < 1'000; ++i) {
    const ModelVersion model{"none " + std::to_string(i)};
    directory.Want(model);
    directory.TookReadiness(0, model, false, kStart);
  }
  EXPECT_LE(directory.Questions(0).size(), 64U);
  EXPECT_EQ(directory.Look(0, {"none 0"}), Has::kMaybe);
  EXPECT_EQ(directory.Look(0, {"none 999"}), Has::kNo);
}

TEST(ModelDirectoryTest, SignsAreWhatItHadAndWhatWasNamed) {
  ModelDirectory directory(2, {"named"});
  EXPECT_EQ(directory.SignsOf(0), std::vector<std::string>{"named"});
  directory.TookIndex(0, Index({"a"}), kStart);
  EXPECT_EQ(directory.SignsOf(0), (std::vector<std::string>{"a", "named"}));
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) many.push_back("m" + std::to_string(i));
  directory.TookIndex(1, Index(many), kStart);
  EXPECT_EQ(directory.SignsOf(1).size(), 9U) << "eight that it had, and the one that was named";
}

}  // namespace
}  // namespace inferpool::backend
