// backend::Client among several model servers with different models.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/worker/backend/rpc/client_targets.h"
#include "worker/backend/rpc/client.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeDetector;
using test::FakeModelServer;

TEST_F(ClientTargetsTest, WhatIsAskedOfAModelIsOfAServerThatHasIt) {
  second_.Set("people", FakeDetector("people"));
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_TRUE(ModelCalls(*client, "people").Metadata({In(seconds(5))}).ok());
    EXPECT_EQ(client->Pick({"people"}, i), 1U);
    EXPECT_TRUE(absl::IsNotFound(ModelCalls(*client, "none").Metadata({In(seconds(5))}).status()));
  }
  EXPECT_EQ(*client->Models(In(seconds(5))), (std::vector<std::string>{"faces", "people"}));
  EXPECT_EQ(client->RepositoryIndex(true, {In(seconds(5))})->models_size(), 2);
}

TEST_F(ClientTargetsTest, OneRequestsQuestionsGoToOneServer) {
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  for (int i = 0; i < 6; ++i) {
    ModelCalls calls(*client, "faces");
    EXPECT_TRUE(calls.Metadata({In(seconds(5))}).ok());
    EXPECT_TRUE(calls.Config({In(seconds(5))}).ok());
    EXPECT_TRUE(calls.Infer(Bytes(Request()), {In(seconds(5))}).ok());
    EXPECT_EQ(first_.metadata_calls, first_.config_calls);
    EXPECT_EQ(first_.metadata_calls, first_.infer_calls);
  }
  EXPECT_EQ(first_.infer_calls, 3);
}

TEST_F(ClientTargetsTest, AModelThatMovedIsFoundByTheCallThatMissedIt) {
  first_.Set("people", FakeDetector("people"));
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  for (int i = 0; i < 3; ++i) {
    FakeModelServer& from = i % 2 == 0 ? first_ : second_;
    FakeModelServer& to = i % 2 == 0 ? second_ : first_;
    to.Set("people", FakeDetector("people"));
    from.Remove("people");
    ModelCalls calls(*client, "people");
    EXPECT_TRUE(calls.Infer(Bytes(Request("people")), {In(seconds(5))}).ok()) << i;
    std::this_thread::sleep_for(milliseconds(150));
  }
}

TEST_F(ClientTargetsTest, AModelThatMovedIsReadyWhereItIsNow) {
  first_.Set("people", FakeDetector("people"));
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  second_.Set("people", FakeDetector("people"));
  first_.Remove("people");
  // Both answer; the one without the model says no.
  const auto ready = ModelCalls(*client, "people").Ready({In(seconds(5))});
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_TRUE(ready->ready());
  EXPECT_FALSE(ModelCalls(*client, "none").Ready({In(seconds(5))})->ready());
}

TEST_F(ClientTargetsTest, TheIndexNamesEachVersionAndNoServerThatIsAway) {
  for (FakeModelServer* server : {&first_, &second_}) server->Lacks({"RepositoryIndex"});
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  ASSERT_TRUE(client->Describe("faces", 0, In(seconds(5))).ok());
  ASSERT_EQ(client->RepositoryIndex(true, {In(seconds(5))})->models_size(), 1);
  first_.Stop();
  ASSERT_TRUE(Eventually([&] { return !client->State(0).may_connect; }));
  const auto index = client->RepositoryIndex(true, {In(seconds(5))});
  EXPECT_TRUE(!index.ok() || index->models_size() == 0);
}

// A model that one of two servers without an index is known to have, as the other one is not asked.
TEST_F(ClientTargetsTest, WithoutAnIndexTheOtherServerIsFoundWhenTheFirstIsAway) {
  for (FakeModelServer* server : {&first_, &second_}) server->Lacks({"RepositoryIndex"});
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  ASSERT_TRUE(client->Describe("faces", 0, In(seconds(5))).ok());
  ASSERT_EQ(client->directory().ServersFor({"faces"}), std::vector<std::size_t>{0});
  first_.Stop();
  ModelCalls calls(*client, "faces");
  EXPECT_TRUE(calls.Infer(Bytes(Request("faces")), {In(seconds(5))}).ok());
  EXPECT_EQ(second_.infer_calls, 1);
}

TEST_F(ClientTargetsTest, AServerThatHangsKeepsNoRequestForAModelThatIsNowhere) {
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  second_.SetDelay(seconds(60));
  std::this_thread::sleep_for(milliseconds(10));
  const TimePoint start = Clock::now();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(client->IsElsewhere(0, {"none"}, /*away=*/false, In(seconds(30))));
    std::this_thread::sleep_for(milliseconds(110));  // so that each is news
  }
  EXPECT_LT(Clock::now() - start, seconds(2));
}

TEST_F(ClientTargetsTest, WithoutAnIndexThereIsOneOfWhatIsKnownThoughTheFirstIsAway) {
  second_.Lacks({"RepositoryIndex"});
  const auto client = OfBoth();
  client->AwaitModels(In(seconds(5)));
  ASSERT_TRUE(client->Describe("faces", 1, In(seconds(5))).ok());
  first_.Stop();
  const auto index = client->RepositoryIndex(true, {In(seconds(5))});
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_GT(index->models_size(), 0);
}

}  // namespace
}  // namespace inferpool::backend
