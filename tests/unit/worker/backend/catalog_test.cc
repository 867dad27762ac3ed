#include "worker/backend/catalog.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/worker/backend/rpc/fake_model_server.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using test::FakeDetector;
using test::FakeModel;
using test::FakeModelServer;

FakeModel Version(const std::string& version) {
  FakeModel model = FakeDetector("faces");
  model.metadata.set_versions(0, version);
  return model;
}

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() { server_.Set("faces", Version("1")); }

  absl::StatusOr<std::shared_ptr<const Model>> Get(Catalog& catalog,
                                                   const std::string& name = "faces") {
    return catalog.Get(name, Deadline::After(seconds(5)));
  }
  // The version that the catalog knows of the model; its error otherwise.
  std::string GetVersion(Catalog& catalog) {
    const auto model = Get(catalog);
    return model.ok() ? (*model)->description.version : model.status().ToString();
  }
  static void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

  FakeModelServer server_;
  const Client client_{{server_.target()}, 16};
};

TEST_F(CatalogTest, KnowsTheModelAndThePlanForIt) {
  Catalog catalog(client_);
  const auto model = Get(catalog);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->description.name, "faces");
  EXPECT_EQ((*model)->description.class_names, std::vector<std::string>{"face"});
  ASSERT_TRUE((*model)->plan.ok()) << (*model)->plan.status();
  EXPECT_EQ((*model)->plan->family, vision::Family::kEndToEnd);
}

TEST_F(CatalogTest, VersionsAreModelsOfTheirOwn) {
  FakeModel second = FakeDetector("faces");
  (*second.config.mutable_parameters())["class_names"].set_string_value("head\n");
  server_.Set("faces@2", second);
  Catalog catalog(client_);
  const auto get = [&](const std::string& version) {
    return catalog.Get(ModelVersion{"faces", version}, Deadline::After(seconds(5)));
  };
  for (int i = 0; i < 2; ++i) {
    const auto model = get("2");
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->description.class_names, std::vector<std::string>{"head"});
    EXPECT_EQ((*model)->description.version, "2") << "whatever the server calls its latest";
    EXPECT_EQ((*model)->asked(), (ModelVersion{"faces", "2"}));
    const auto without = get("");
    ASSERT_TRUE(without.ok());
    EXPECT_EQ((*without)->description.class_names, std::vector<std::string>{"face"});
    EXPECT_EQ((*without)->asked(), (ModelVersion{"faces"}));
  }
  EXPECT_EQ(server_.metadata_calls, 2) << "each is asked for once";
}

TEST_F(CatalogTest, ANameWithAVersionIsThatUnlessAModelHasIt) {
  Catalog catalog(client_);
  const auto resolve = [&](const std::string& name) {
    return Name(catalog.Resolve(name, Deadline::After(seconds(5)))) +
           (catalog.Resolve(name, Deadline::After(seconds(5))).version.empty() ? "" : " (version)");
  };
  EXPECT_EQ(resolve("faces"), "faces");
  EXPECT_EQ(server_.metadata_calls, 0) << "nobody is asked what a plain name means";
  EXPECT_EQ(resolve("faces@2"), "faces@2 (version)");
  EXPECT_EQ(server_.metadata_calls, 1) << "nobody is asked again at once";
  server_.Set("a@b", FakeDetector("a@b"));
  EXPECT_EQ(resolve("a@b"), "a@b");
  EXPECT_EQ(resolve("a@b@3"), "a@b@3 (version)");
  EXPECT_EQ(resolve("a@"), "a@");
  EXPECT_EQ(resolve("a@b c"), "a@b c");
  EXPECT_EQ(resolve("@4"), "@4");
}

TEST_F(CatalogTest, AModelThatCannotBeUsedIsKnownWithTheReason) {
  server_.Set("odd", FakeModel{});
  Catalog catalog(client_);
  const auto model = Get(catalog, "odd");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(absl::IsFailedPrecondition((*model)->plan.status())) << (*model)->plan.status();
}

TEST_F(CatalogTest, AsksOnceForManyRequests) {
  Catalog catalog(client_);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Get(catalog).ok());
  EXPECT_EQ(server_.metadata_calls, 1);
  EXPECT_EQ(server_.config_calls, 1);
}

TEST_F(CatalogTest, ModelsAreKnownApart) {
  server_.Set("people", FakeDetector("people"));
  Catalog catalog(client_);
  EXPECT_EQ((*Get(catalog, "faces"))->description.name, "faces");
  EXPECT_EQ((*Get(catalog, "people"))->description.name, "people");
  EXPECT_EQ((*Get(catalog, "faces"))->description.name, "faces");
}

TEST_F(CatalogTest, AsksAnewAfterMaxAge) {
  Catalog catalog(client_, milliseconds(100));
  EXPECT_EQ(GetVersion(catalog), "1");
  server_.Set("faces", Version("2"));
  EXPECT_EQ(GetVersion(catalog), "1");
  Sleep(milliseconds(110));
  EXPECT_EQ(GetVersion(catalog), "2");
  EXPECT_EQ(server_.metadata_calls, 2);
}

TEST_F(CatalogTest, RenewAsksAnewAtOnce) {
  Catalog catalog(client_, std::chrono::hours(1));
  const auto model = Get(catalog);
  ASSERT_TRUE(model.ok()) << model.status();
  server_.Set("faces", Version("2"));
  EXPECT_EQ(GetVersion(catalog), "1");
  catalog.Renew(**model, Deadline::After(minutes(1)));
  EXPECT_EQ(GetVersion(catalog), "2");
  EXPECT_EQ(server_.metadata_calls, 2);
}

TEST_F(CatalogTest, WhatWasHandedOutOutlivesAChange) {
  Catalog catalog(client_, milliseconds(1));
  const auto model = *Get(catalog);
  server_.Set("faces", Version("2"));
  Sleep(milliseconds(5));
  EXPECT_EQ(GetVersion(catalog), "2");
  EXPECT_EQ(model->description.version, "1");
}

TEST_F(CatalogTest, AnUnknownModelIsNotFoundAndIsFoundAsSoonAsItIsThere) {
  Catalog catalog(client_, std::chrono::hours(1));
  EXPECT_TRUE(absl::IsNotFound(Get(catalog, "new").status()));
  server_.Set("new", FakeDetector("new"));
  EXPECT_TRUE(Get(catalog, "new").ok());
}

TEST_F(CatalogTest, AModelThatWasRemovedIsNotFoundAfterMaxAge) {
  Catalog catalog(client_, milliseconds(50));
  EXPECT_TRUE(Get(catalog).ok());
  server_.Remove("faces");
  Sleep(milliseconds(60));
  EXPECT_TRUE(absl::IsNotFound(Get(catalog).status()));
  EXPECT_TRUE(absl::IsNotFound(Get(catalog).status())) << "and stays so";
}

TEST_F(CatalogTest, AModelThatWasRemovedDoesNotComeBackWhileTheServerIsAway) {
  Catalog catalog(client_, milliseconds(50));
  EXPECT_TRUE(Get(catalog).ok());
  server_.Remove("faces");
  Sleep(milliseconds(60));
  ASSERT_TRUE(absl::IsNotFound(Get(catalog).status()));
  server_.Stop();
  const absl::Status status = Get(catalog).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST_F(CatalogTest, WhileTheServerIsAwayItGoesOnWithWhatItKnows) {
  Catalog catalog(client_, milliseconds(50));
  EXPECT_EQ(GetVersion(catalog), "1");
  server_.Stop();
  for (int i = 0; i < 5; ++i) {
    Sleep(milliseconds(60));
    EXPECT_EQ(GetVersion(catalog), "1");
  }
}

TEST_F(CatalogTest, WhatItNeverKnewIsUnavailableWhileTheServerIsAway) {
  server_.Stop();
  Catalog catalog(client_);
  EXPECT_TRUE(absl::IsUnavailable(Get(catalog).status()));
}

TEST_F(CatalogTest, AServerThatIsTooSlowForTheFirstQuestionIsDeadlineExceeded) {
  server_.SetDelay(seconds(2));
  Catalog catalog(client_);
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(catalog.Get("faces", Deadline::After(milliseconds(100))).status()));
}

// "As it was known at most max_age ago; older only while the server is away."
TEST_F(CatalogTest, AfterTheServersReturnNothingOlderThanMaxAgeIsHandedOut) {
  Catalog catalog(client_, milliseconds(500));
  EXPECT_EQ(GetVersion(catalog), "1");
  Sleep(milliseconds(510));
  server_.Stop();
  EXPECT_EQ(GetVersion(catalog), "1") << "away: the old one will do";
  server_.Set("faces", Version("2"));
  server_.Start();
  while (!client_.ServerReady(Deadline::After(seconds(5))).ok()) Sleep(milliseconds(5));
  EXPECT_EQ(GetVersion(catalog), "2");
}

// Asks from many threads at once; returns the number of good answers.
int AskFromManyThreads(Catalog& catalog, int threads) {
  std::atomic<int> good = 0;
  std::vector<std::jthread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back(
        [&] { good += catalog.Get("faces", Deadline::After(seconds(5))).ok() ? 1 : 0; });
  }
  all.clear();
  return good;
}

TEST_F(CatalogTest, ManyRequestsAtOnceAskOnceWhenWhatIsKnownIsTooOld) {
  Catalog catalog(client_, milliseconds(300));
  EXPECT_TRUE(Get(catalog).ok());
  Sleep(milliseconds(310));
  server_.SetDelay(milliseconds(50));
  EXPECT_EQ(AskFromManyThreads(catalog, 16), 16);
  EXPECT_EQ(server_.metadata_calls, 2);
}

TEST_F(CatalogTest, ManyRequestsAtOnceAskOnceWhenNothingIsKnown) {
  Catalog catalog(client_);
  server_.SetDelay(milliseconds(50));
  EXPECT_EQ(AskFromManyThreads(catalog, 16), 16);
  EXPECT_EQ(server_.metadata_calls, 1);
}

TEST_F(CatalogTest, WhileOneAsksTheOthersDoNotWait) {
  Catalog catalog(client_, milliseconds(100));
  EXPECT_TRUE(Get(catalog).ok());
  Sleep(milliseconds(110));
  server_.SetDelay(minutes(5));
  std::atomic<bool> answered = false;
  std::thread first([&] {
    EXPECT_TRUE(catalog.Get("faces", Deadline::After(minutes(5))).ok());
    answered = true;
  });
  for (int i = 0; i < 30'000 && server_.metadata_calls < 2; ++i) Sleep(milliseconds(1));
  EXPECT_EQ(server_.metadata_calls, 2) << "the first one asks";
  EXPECT_TRUE(catalog.Get("faces", Deadline::After(minutes(1))).ok());
  EXPECT_FALSE(answered) << "the other one has waited for it";
  server_.SetDelay(milliseconds(0));
  first.join();
}

TEST_F(CatalogTest, IsSharedByManyThreadsWhateverTheyDo) {
  Catalog catalog(client_, milliseconds(2));
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&, i] {
        for (int j = 0; j < 60; ++j) {
          if (i == 0) {
            if (const auto model = Get(catalog); model.ok()) {
              catalog.Renew(**model, Deadline::After(minutes(1)));
            }
          } else if (i == 1) {
            server_.Set("faces", Version(std::to_string(j)));
          } else if (!Get(catalog).ok()) {
            ++wrong;
          }
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

// ---- Several servers

class CatalogOfTwoTest : public CatalogTest {
 protected:
  // The client looks at once at what the servers have.
  std::vector<std::string> TargetsOfBoth() {
    other_.Set("faces", Version("1"));
    return {server_.target(), other_.target()};
  }

  FakeModelServer other_;
  const Client both_{TargetsOfBoth(), 16};
};

TEST_F(CatalogOfTwoTest, ServersThatSayTheSameShareTheModel) {
  both_.AwaitModels(Deadline::After(minutes(1)));
  Catalog catalog(both_);
  std::shared_ptr<const Model> model;
  for (int i = 0; i < 4; ++i) model = *Get(catalog);
  EXPECT_EQ(model->servers, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(*Get(catalog), model) << "and it stays the same object";
  EXPECT_EQ(server_.metadata_calls, 1);
  EXPECT_EQ(other_.metadata_calls, 1);
}

// A share that nobody has asked for lately says nothing of what its server has by now.
TEST_F(CatalogOfTwoTest, AShareLastsAsLongAsItsServerSaysSo) {
  Catalog catalog(both_, milliseconds(1));
  while ((*Get(catalog))->servers.size() != 2) Sleep(milliseconds(2));
  other_.Set("faces", Version("2"));
  Sleep(milliseconds(1'100));
  for (int i = 0; i < 2; ++i) {
    const auto model = *Get(catalog);
    const std::size_t its = model->description.version == "1" ? 0 : 1;
    EXPECT_EQ(model->servers, std::vector<std::size_t>{its});
  }
}

TEST_F(CatalogOfTwoTest, EachModelGoesRoundTheServersForItself) {
  for (FakeModelServer* server : {&server_, &other_}) server->Set("people", FakeDetector("people"));
  both_.AwaitModels(Deadline::After(seconds(5)));
  Catalog catalog(both_);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Get(catalog, "faces").ok());
    ASSERT_TRUE(Get(catalog, "people").ok());
  }
  EXPECT_EQ((*Get(catalog, "faces"))->servers, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ((*Get(catalog, "people"))->servers, (std::vector<std::size_t>{0, 1}));
}

TEST_F(CatalogOfTwoTest, WhatIsRenewedIsOfAfterTheCall) {
  both_.AwaitModels(Deadline::After(seconds(5)));
  Catalog catalog(both_);
  std::shared_ptr<const Model> model;
  for (int i = 0; i < 4; ++i) model = *Get(catalog);
  ASSERT_EQ(model->servers.size(), 2U);
  other_.Remove("faces");
  server_.SetDelay(milliseconds(20));
  other_.SetDelay(milliseconds(20));
  std::atomic<int> old = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        catalog.Renew(*model, Deadline::After(seconds(5)));
        old += Get(catalog).value()->servers.size() == 2 ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(old, 0);
}

TEST_F(CatalogOfTwoTest, DuringARolloutThereAreTwoEachOfItsServer) {
  other_.Set("faces", Version("2"));
  Catalog catalog(both_, milliseconds(1));
  std::map<std::string, std::vector<std::size_t>> servers;
  for (int i = 0; i < 8; ++i) {
    const auto model = *Get(catalog);
    servers[model->description.version] = model->servers;
    Sleep(milliseconds(2));
  }
  EXPECT_EQ(servers, (std::map<std::string, std::vector<std::size_t>>{{"1", {0}}, {"2", {1}}}));
  server_.Set("faces", Version("2"));
  for (int i = 0; i < 8; ++i) {
    Sleep(milliseconds(2));
    static_cast<void>(Get(catalog));
  }
  EXPECT_EQ((*Get(catalog))->servers, (std::vector<std::size_t>{0, 1}));
}

TEST_F(CatalogOfTwoTest, AModelThatMovedIsFoundByWhoMissesIt) {
  other_.Remove("faces");
  both_.AwaitModels(Deadline::After(seconds(5)));
  Catalog catalog(both_, milliseconds(1));
  ASSERT_EQ((*Get(catalog))->servers, std::vector<std::size_t>{0});
  other_.Set("faces", Version("3"));
  server_.Remove("faces");
  Sleep(milliseconds(2));
  const auto moved = Get(catalog);
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_EQ((*moved)->description.version, "3");
  other_.Remove("faces");
  Sleep(milliseconds(150));
  EXPECT_TRUE(absl::IsNotFound(Get(catalog).status()));
}

TEST_F(CatalogOfTwoTest, AServerThatIsAwayLeavesItToTheOther) {
  server_.Stop();
  Catalog catalog(both_, milliseconds(1));
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Get(catalog).ok()) << i;
}

// ---- What the operator says

TEST_F(CatalogTest, TheOperatorsWordsWin) {
  ModelSettings settings;
  settings.class_names = {"one", "two"};
  settings.max_batch_size = 4;
  Catalog catalog(client_, seconds(5), {{"faces", settings}});
  const auto model = *Get(catalog);
  EXPECT_EQ(model->description.class_names, settings.class_names);
  EXPECT_EQ(model->description.max_batch_size, 4);
}

TEST_F(CatalogTest, AModelWithoutTensorsIsKnownWithWhatToSet) {
  server_.Lacks({"ModelConfig"});
  FakeModel bare;
  bare.metadata.set_name("bare");
  server_.Set("bare", bare);
  Catalog catalog(client_);
  const auto model = *Get(catalog, "bare");
  EXPECT_EQ(model->plan.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(model->plan.status().ToString().find("\"models\": {\"bare\""), std::string::npos);
}

TEST_F(CatalogTest, AServerThatDescribesNothingServesWhatTheOperatorDescribes) {
  server_.Lacks({"ModelConfig", "ModelMetadata"});
  ModelSettings settings;
  settings.parameters = {{"family", "yolov8"}};
  settings.inputs = {{"images", "FP32", {1, 3, 64, 64}}};
  settings.outputs = {{"output0", "FP32", {1, 6, 84}}};
  Catalog catalog(client_, seconds(5), {{"net", settings}});
  const auto model = Get(catalog, "net");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->plan.ok()) << (*model)->plan.status();
  EXPECT_TRUE(absl::IsUnimplemented(Get(catalog, "other").status())) << "and nothing is kept of it";
}

TEST(ModelSettingsTest, WhatIsNotKnownIsRefused) {
  ModelSettings settings;
  settings.parameters = {{"family", "yolov8"}, {"input_size", "640x480"}};
  EXPECT_TRUE(Check(settings).ok());
  settings.parameters = {{"famliy", "yolov8"}};
  EXPECT_NE(Check(settings).ToString().find("famliy is not known"), std::string::npos);
  settings.parameters = {{"family", "yolo9000"}};
  EXPECT_NE(Check(settings).ToString().find("allowed are yolov8"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::backend
