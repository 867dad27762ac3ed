// backend::Client among several model servers, some of which are away, hung or busy.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stop_token>
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
using test::FakeModel;
using test::FakeModelServer;

FakeModel Failing(grpc::StatusCode code) {
  FakeModel model = FakeDetector("faces");
  model.infer = [code](const auto&, auto*) { return grpc::Status(code, "the reason"); };
  return model;
}

// Takes its time even when its caller has gone.
FakeModel Slow(milliseconds time) {
  FakeModel model = FakeDetector("slow");
  model.infer = [time](const auto&, auto*) {
    std::this_thread::sleep_for(time);
    return grpc::Status::OK;
  };
  return model;
}

TEST_F(ClientTargetsTest, SeveralAreUsedInTurn) {
  const auto client = OfBoth();
  ASSERT_TRUE(client->ServerReady(In(seconds(5))).ok());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Call(*client).ok());
  EXPECT_EQ(first_.infer_calls, 5);
  EXPECT_EQ(second_.infer_calls, 5);
  EXPECT_EQ(Count(ModelCall::kMade), 10U);
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

TEST_F(ClientTargetsTest, TheAddressesOfOneTargetAreUsedInTurnToo) {
  const auto client = Make({"ipv4:127.0.0.1:" + std::to_string(first_.port()) +
                            ",127.0.0.1:" + std::to_string(second_.port())});
  EXPECT_TRUE(Eventually([&] {
    EXPECT_TRUE(Call(*client).ok());
    return first_.infer_calls > 4 && second_.infer_calls > 4;
  }));
}

TEST_F(ClientTargetsTest, EveryChannelIsAConnectionOfItsOwn) {
  const Client client({"ipv4:127.0.0.1:" + std::to_string(first_.port())}, 16, {.channels = 4});
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(Call(client).ok());
  EXPECT_EQ(first_.Peers().size(), 4U);
}

TEST_F(ClientTargetsTest, ADeadOneBesideALiveOneIsNotNoticed) {
  const auto client = OfBoth();
  first_.Stop();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Call(*client).ok()) << i;
  EXPECT_EQ(second_.infer_calls, 50);
  EXPECT_TRUE(client->ServerReady(In(seconds(5))).ok());
  EXPECT_TRUE(client->Describe("faces", 1, In(seconds(5))).ok());
  EXPECT_FALSE(client->State(0).may_connect);
  EXPECT_TRUE(client->State(1).may_connect);
}

TEST_F(ClientTargetsTest, CallsThatAServerTakesWithItAreMadeAgainOnTheOther) {
  const auto client = OfBoth();
  ASSERT_TRUE(Call(*client).ok());
  ASSERT_TRUE(Call(*client).ok());
  first_.SetDelay(seconds(60));
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] { good += Call(*client, seconds(30)).ok() ? 1 : 0; });
    }
    ASSERT_TRUE(Eventually([&] { return first_.infer_calls == 5 && good == 4; }));
    first_.Stop();
  }
  EXPECT_EQ(good, 8);
  EXPECT_EQ(Count(ModelCall::kRetried), 4U);
}

TEST_F(ClientTargetsTest, NoCallGoesToAServerWhoseBreakerIsOpen) {
  const auto client = OfOne();
  EXPECT_TRUE(client->CheckAdmits().ok());
  first_.Stop();
  Open(*client);
  EXPECT_GE(Count(ModelCall::kBreakerOpened), 1U);
  first_.ready = false;  // so that no probe closes it
  first_.SetIndex({});
  first_.Start();
  ASSERT_TRUE(Eventually([&] { return first_.ready_calls > 2; })) << "and it is probed";
  const std::uint64_t refused = Count(ModelCall::kRefused);
  for (int i = 0; i < 10; ++i) {
    const absl::Status status = Call(*client);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::IsUnavailable(client->Describe("faces", 0, In(seconds(20))).status()));
    EXPECT_TRUE(absl::IsUnavailable(client->CheckAdmits()));
  }
  EXPECT_EQ(first_.infer_calls + first_.metadata_calls, 0);
  EXPECT_EQ(Count(ModelCall::kRefused), refused + 30);
}

TEST_F(ClientTargetsTest, AServerThatIsBackIsFoundWithoutACall) {
  const auto client = OfOne();
  ASSERT_TRUE(Call(*client).ok());
  first_.Stop();
  Open(*client);
  first_.Start();
  EXPECT_TRUE(Eventually([&] { return client->State(0).breaker == Breaker::State::kClosed; }));
  EXPECT_EQ(first_.infer_calls, 1);
  EXPECT_TRUE(Call(*client).ok());
}

TEST_F(ClientTargetsTest, ABrokenModelDoesNotKeepTheBreakerOpen) {
  const auto client = OfOne();
  first_.Stop();
  Open(*client);
  first_.ready = false;  // as Triton says with strict readiness
  first_.SetIndex({{"faces", "1"}, {"broken", "1", "UNAVAILABLE"}});
  first_.Start();
  EXPECT_TRUE(Eventually([&] { return client->State(0).breaker == Breaker::State::kClosed; }));
  EXPECT_EQ(first_.infer_calls, 0);
  EXPECT_TRUE(Call(*client).ok());
  EXPECT_TRUE(client->ServerReady(In(seconds(20))).ok());
}

TEST_F(ClientTargetsTest, AServerThatLoadsItsModelsKeepsTheBreakerOpen) {
  const auto client = OfOne();
  first_.Stop();
  Open(*client);
  first_.ready = false;
  first_.SetIndex({{"faces", "1"}, {"large", "1", "LOADING"}});
  first_.Start();
  ASSERT_TRUE(Eventually([&] { return first_.index_calls >= 2; }));
  EXPECT_EQ(client->State(0).breaker, Breaker::State::kOpen);
  EXPECT_TRUE(absl::IsUnavailable(client->ServerReady(In(seconds(20)))));
  first_.SetIndex({{"faces", "1"}, {"large", "1"}});
  first_.ready = true;
  EXPECT_TRUE(Eventually([&] { return client->State(0).breaker == Breaker::State::kClosed; }));
}

TEST_F(ClientTargetsTest, AHungServersCallsAreMadeAgainOnTheOther) {
  const auto client = OfBoth({.unanswered_probes = 1});
  ASSERT_TRUE(Call(*client).ok());
  ASSERT_TRUE(Call(*client).ok());
  first_.SetDelay(seconds(60));
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { good += Call(*client, seconds(50)).ok() ? 1 : 0; });
  }
  for (std::jthread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
  EXPECT_EQ(client->State(0).breaker, Breaker::State::kOpen);
  EXPECT_EQ(Count(ModelCall::kRetried), 2U);
  EXPECT_TRUE(Call(*client).ok());
  EXPECT_TRUE(Call(*client).ok());
  EXPECT_EQ(first_.infer_calls, 3) << "nobody else had to wait for it";
  first_.SetDelay(milliseconds(0));
  EXPECT_TRUE(Eventually([&] { return client->State(0).breaker == Breaker::State::kClosed; }));
}

TEST_F(ClientTargetsTest, ASlowModelIsNoHungServer) {
  const auto client = OfOne({.unanswered_probes = 1});
  first_.Set("slow", Slow(milliseconds(1'500)));
  EXPECT_TRUE(client->Infer(Request("slow"), {In(seconds(20))}).ok());
  EXPECT_GE(first_.ready_calls, 1) << "it was asked";
  for (int i = 0; i < 7; ++i) {
    EXPECT_TRUE(
        absl::IsDeadlineExceeded(client->Infer(Request("slow"), {In(milliseconds(30))}).status()));
  }
  ASSERT_TRUE(Eventually([&] { return first_.ready_calls >= 2; }));
  EXPECT_TRUE(Call(*client).ok());
  EXPECT_EQ(client->State(0).breaker, Breaker::State::kClosed);
  EXPECT_EQ(client->State(0).openings, 0U);
}

TEST_F(ClientTargetsTest, BadInputNeverOpensTheBreaker) {
  const auto client = OfOne();
  for (const auto code : {grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::NOT_FOUND,
                          grpc::StatusCode::INTERNAL, grpc::StatusCode::UNKNOWN,
                          grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    first_.Set("faces", Failing(code));
    for (int i = 0; i < 30; ++i) {
      EXPECT_EQ(static_cast<int>(Call(*client).code()), static_cast<int>(code)) << i;
    }
  }
  EXPECT_EQ(client->State(0).breaker, Breaker::State::kClosed);
  EXPECT_EQ(first_.infer_calls, 180) << "and is not tried again";
  EXPECT_EQ(client->State(0).openings, 0U);
}

TEST_F(ClientTargetsTest, ABusyModelTakesNoOtherOneFromItsUsers) {
  const auto client = OfOne();
  first_.Set("busy", Failing(grpc::StatusCode::UNAVAILABLE));
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(absl::IsUnavailable(client->Infer(Request("busy"), {In(seconds(5))}).status()));
    EXPECT_TRUE(Call(*client).ok()) << i;
  }
  EXPECT_EQ(first_.infer_calls, 100) << "what is busy is not asked twice";
  EXPECT_EQ(client->State(0).openings, 0U);
}

TEST_F(ClientTargetsTest, WhatOneServerIsTooBusyForTheOtherOneDoes) {
  const auto client = OfBoth();
  ASSERT_TRUE(client->ServerReady(In(seconds(5))).ok());
  first_.Set("faces", Failing(grpc::StatusCode::UNAVAILABLE));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(*client).ok()) << i;
  EXPECT_EQ(second_.infer_calls, 20);
}

TEST_F(ClientTargetsTest, RetriesAreATenthOfTheCalls) {
  const auto client = OfBoth();
  first_.Set("faces", Failing(grpc::StatusCode::UNAVAILABLE));
  second_.Set("faces", Failing(grpc::StatusCode::UNAVAILABLE));
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(absl::IsUnavailable(Call(*client)));
  EXPECT_EQ(Count(ModelCall::kRetried), 30U) << "and the ten of the beginning";
  EXPECT_EQ(first_.infer_calls + second_.infer_calls, 230);
}

TEST_F(ClientTargetsTest, OneThatIsReadyIsEnough) {
  const auto client = OfBoth();
  first_.ready = false;
  EXPECT_TRUE(client->ServerReady(In(seconds(5))).ok());
  first_.SetDelay(seconds(60));
  EXPECT_TRUE(client->ServerReady(In(seconds(20))).ok()) << "nobody waits for the other one";
  second_.ready = false;
  second_.SetIndex({});
  EXPECT_TRUE(absl::IsDeadlineExceeded(client->ServerReady(In(milliseconds(100)))) ||
              absl::IsUnavailable(client->ServerReady(In(milliseconds(100)))));
}

// ---- the parts of a call

// A call's attempts, as they were sent and ended.
struct Sent {
  std::size_t target;
  absl::StatusCode code;
  bool server_done;
};

// A call to the model "faces", attempt by attempt.
std::vector<Sent> SendAll(const Client& client, const CallLimits& limits) {
  std::vector<Sent> sent;
  Attempts attempts = client.NewAttempts(limits.deadline);
  while (auto attempt = attempts.Next(client.Candidates(), Clock::now())) {
    const std::size_t target = attempt->target;
    const Answer answer = client.Send(*std::move(attempt), "ModelInfer", Bytes(Request()), limits);
    attempts.Record(answer.message.status(), answer.outcome);
    sent.push_back({target, answer.message.status().code(), answer.server_done});
  }
  EXPECT_TRUE(sent.empty() || attempts.status().code() == sent.back().code);
  return sent;
}

TEST_F(ClientTargetsTest, ACallInBytesBringsTheAnswersBytes) {
  const auto client = OfBoth();
  ASSERT_TRUE(client->ServerReady(In(seconds(5))).ok());
  for (int i = 0; i < 4; ++i) {
    const auto answer = client->Infer(Bytes(Request()), {In(seconds(5))});
    ASSERT_TRUE(answer.ok()) << answer.status();
    grpc::Slice slice;
    ASSERT_TRUE(answer->DumpToSingleSlice(&slice).ok());
    inference::ModelInferResponse response;
    ASSERT_TRUE(response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    EXPECT_EQ(response.model_name(), "faces");
  }
  EXPECT_EQ(first_.infer_calls, 2);
  EXPECT_EQ(second_.infer_calls, 2);
}

TEST_F(ClientTargetsTest, AnAttemptNamesTheServerThatItGoesTo) {
  const auto client = OfBoth();
  ASSERT_TRUE(client->ServerReady(In(seconds(5))).ok());
  for (std::size_t i = 0; i < 4; ++i) {
    const std::vector<Sent> sent = SendAll(*client, {In(seconds(5))});
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(sent[0].target, i % 2);
    EXPECT_EQ(sent[0].code, absl::StatusCode::kOk);
    EXPECT_TRUE(sent[0].server_done);
    EXPECT_EQ(first_.infer_calls, static_cast<int>(i / 2 + 1));
    EXPECT_EQ(second_.infer_calls, static_cast<int>((i + 1) / 2));
  }
}

TEST_F(ClientTargetsTest, AServerMayStillBeAtWorkOnTheAttemptBefore) {
  const auto client = OfBoth();
  ASSERT_TRUE(client->ServerReady(In(seconds(5))).ok());
  first_.SetDelay(seconds(60));
  std::jthread killer([&] {
    EXPECT_TRUE(Eventually([&] { return first_.infer_calls == 1; }));
    first_.Stop();
  });
  const std::vector<Sent> sent = SendAll(*client, {In(seconds(30))});
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].target, 0U);
  EXPECT_EQ(sent[0].code, absl::StatusCode::kUnavailable);
  EXPECT_FALSE(sent[0].server_done);
  EXPECT_EQ(sent[1].target, 1U);
  EXPECT_EQ(sent[1].code, absl::StatusCode::kOk);
  EXPECT_TRUE(sent[1].server_done);
}

TEST_F(ClientTargetsTest, AServerIsDoneOnceItSurelyHasNoHandInTheCall) {
  const auto client = OfOne();
  const auto done = [&](const CallLimits& limits) {
    const std::vector<Sent> sent = SendAll(*client, limits);
    return sent.empty() || sent.back().server_done;
  };
  EXPECT_TRUE(done({In(seconds(5))}));
  EXPECT_TRUE(done({In(-seconds(5))})) << "never sent";
  first_.Set("faces", Failing(grpc::StatusCode::INVALID_ARGUMENT));
  EXPECT_TRUE(done({In(seconds(5))}));
  first_.Set("faces", Slow(milliseconds(300)));
  EXPECT_FALSE(done({In(milliseconds(50))}));
  std::stop_source departed;
  departed.request_stop();
  EXPECT_FALSE(done({In(seconds(5)), departed.get_token()}));
  first_.Stop();
  Open(*client);
  EXPECT_TRUE(done({In(seconds(5))})) << "never sent";
}

TEST_F(ClientTargetsTest, TheRequestsMemoryIsLetGoHoweverTheCallEnds) {
  const auto client = OfOne();
  std::atomic<int> held = 0;
  const std::string bytes = Request().SerializeAsString();
  const auto call = [&](const CallLimits& limits) {
    ++held;
    const grpc::Slice slice(
        const_cast<char*>(bytes.data()), bytes.size(),
        [](void* count) { --*static_cast<std::atomic<int>*>(count); }, &held);
    return client->Infer(grpc::ByteBuffer(&slice, 1), limits).status();
  };
  EXPECT_TRUE(call({In(seconds(5))}).ok());
  first_.Set("faces", Slow(milliseconds(300)));
  EXPECT_FALSE(call({In(milliseconds(50))}).ok());
  std::stop_source departed;
  departed.request_stop();
  EXPECT_FALSE(call({In(seconds(5)), departed.get_token()}).ok());
  first_.Stop();
  EXPECT_FALSE(call({In(seconds(5))}).ok());
  EXPECT_TRUE(Eventually([&held] { return held == 0; }));
}

// ---- the one call of a half open breaker

class ClientHalfOpenTest : public ClientTargetsTest {
 protected:
  ClientHalfOpenTest() {
    first_.Stop();
    Open(*client_);
    first_.ready = false;  // so that only the call decides
    first_.Start();
    EXPECT_TRUE(Eventually([&] {
      return client_->State(0).may_connect &&
             client_->State(0).breaker == Breaker::State::kHalfOpen;
    }));
  }

  const std::unique_ptr<Client> client_ = OfOne({.open_for = milliseconds(1)});
};

TEST_F(ClientHalfOpenTest, AnAnswerClosesIt) {
  EXPECT_TRUE(absl::IsNotFound(client_->Describe("none", 0, In(seconds(5))).status()));
  EXPECT_EQ(client_->State(0).breaker, Breaker::State::kClosed);
}

TEST_F(ClientHalfOpenTest, AClientThatLeavesMakesRoomForTheNext) {
  first_.SetDelay(seconds(60));
  std::stop_source departed;
  std::jthread leaving([&] {
    EXPECT_TRUE(Eventually([&] { return first_.infer_calls == 1; }));
    EXPECT_TRUE(absl::IsUnavailable(Call(*client_))) << "one at a time";
    departed.request_stop();
  });
  EXPECT_TRUE(absl::IsCancelled(
      client_->Infer(Request(), {In(seconds(50)), departed.get_token()}).status()));
  leaving.join();
  first_.SetDelay(milliseconds(0));
  EXPECT_TRUE(Call(*client_).ok());
}

TEST_F(ClientHalfOpenTest, AMissedDeadlineMakesRoomForTheNext) {
  first_.SetDelay(seconds(60));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Call(*client_, milliseconds(100))));
  first_.SetDelay(milliseconds(0));
  EXPECT_TRUE(Call(*client_).ok());
}

TEST_F(ClientHalfOpenTest, AnAttemptThatIsNotSentMakesRoomForTheNext) {
  Attempts attempts = client_->NewAttempts(In(seconds(5)));
  {
    const auto attempt = attempts.Next(client_->Candidates(), Clock::now());
    ASSERT_TRUE(attempt.has_value());
    EXPECT_TRUE(absl::IsUnavailable(Call(*client_))) << "one at a time";
  }
  EXPECT_TRUE(Call(*client_).ok());
}

}  // namespace
}  // namespace inferpool::backend
