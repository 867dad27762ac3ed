#include "worker/backend/rpc/readiness_checks.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/worker/backend/rpc/fake_model_server.h"
#include "worker/backend/rpc/channel.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeIndexEntry;
using test::FakeModelServer;
using Result = Breaker::ProbeResult;

constexpr milliseconds kIndexPause{1'100};  // it is asked for again
constexpr milliseconds kGrace{200};         // for gRPC to end a call in

const FakeIndexEntry kFaces{"faces", "1"};
const FakeIndexEntry kPeople{"people", "1"};
const FakeIndexEntry kBroken{"broken", "1", "UNAVAILABLE"};
const FakeIndexEntry kLoading{"large", "1", "LOADING"};

class ReadinessChecksTest : public testing::Test {
 protected:
  using Stub = inference::GRPCInferenceService::Stub;

  ReadinessChecks::Answer Ask() { return Ask(questions_); }
  static ReadinessChecks::Answer Ask(ReadinessChecks& checks) {
    checks.Ask(0, Deadline::After(seconds(20)));
    const auto answer = checks.Next(Deadline::After(seconds(40)));
    if (!answer) {
      ADD_FAILURE() << "no answer";
      return {0, Result::kUnanswered, absl::UnknownError("none")};
    }
    EXPECT_EQ(answer->ready.ok(), answer->result == Result::kReady);
    return *answer;
  }

  static bool Eventually(const std::function<bool()>& condition) {
    const TimePoint end = Clock::now() + seconds(20);
    while (!condition()) {
      if (Clock::now() > end) return false;
      std::this_thread::sleep_for(milliseconds(20));
    }
    return true;
  }
  bool Becomes(Result result) {
    return Eventually([&] { return Ask().result == result; });
  }

  FakeModelServer server_;
  FakeModelServer other_;
  const std::unique_ptr<Stub> stub_ = std::make_unique<Stub>(MakeChannel(server_.target(), 16));
  const std::unique_ptr<Stub> other_stub_ =
      std::make_unique<Stub>(MakeChannel(other_.target(), 16));
  ReadinessChecks questions_{{stub_.get(), other_stub_.get()}};
};

TEST_F(ReadinessChecksTest, OneThatSaysItIsReadyIsAskedNothingElse) {
  server_.SetIndex({kFaces, kBroken});
  const auto answer = Ask();
  EXPECT_EQ(answer.result, Result::kReady);
  EXPECT_FALSE(answer.in_part);
  EXPECT_EQ(server_.ready_calls, 1);
  EXPECT_EQ(server_.model_ready_calls + server_.index_calls, 0);
}

TEST_F(ReadinessChecksTest, ABrokenModelDoesNotHideTheOthers) {
  server_.ready = false;
  server_.SetIndex({kBroken, kFaces});
  const auto answer = Ask();
  EXPECT_EQ(answer.result, Result::kReady);
  EXPECT_TRUE(answer.in_part);
}

TEST_F(ReadinessChecksTest, WithoutAModelItIsNotReady) {
  server_.ready = false;
  for (const std::vector<FakeIndexEntry>& index :
       {std::vector<FakeIndexEntry>{}, {kBroken}, {{"faces", "1", "UNLOADING"}}}) {
    server_.SetIndex(index);
    ReadinessChecks checks({stub_.get()});
    const auto answer = Ask(checks);
    EXPECT_EQ(answer.result, Result::kNotReady);
    EXPECT_TRUE(absl::IsUnavailable(answer.ready)) << answer.ready;
    EXPECT_FALSE(answer.in_part);
  }
}

TEST_F(ReadinessChecksTest, OneThatStartsIsNotReadyBeforeAllIsLoaded) {
  server_.ready = false;
  server_.SetIndex({kFaces, kLoading});
  EXPECT_EQ(Ask().result, Result::kNotReady);
  server_.SetIndex({kFaces, kBroken});
  EXPECT_TRUE(Becomes(Result::kReady));
}

TEST_F(ReadinessChecksTest, OneThatServedDoesSoWhileItLoadsAnother) {
  ASSERT_EQ(Ask().result, Result::kReady);
  server_.ready = false;
  server_.SetIndex({kFaces, kLoading});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask().result, Result::kReady) << i;
}

TEST_F(ReadinessChecksTest, AfterItsEndItStartsAnew) {
  ASSERT_EQ(Ask().result, Result::kReady);
  server_.Stop();
  ASSERT_TRUE(Becomes(Result::kUnanswered));
  server_.ready = false;
  server_.SetIndex({kFaces, kLoading});
  server_.Start();
  ASSERT_TRUE(Becomes(Result::kNotReady));
  std::this_thread::sleep_for(kIndexPause);
  EXPECT_EQ(Ask().result, Result::kNotReady);
}

TEST_F(ReadinessChecksTest, TheModelThatItServedBeforeItsEndSaysNothingOfItsStart) {
  server_.ready = false;
  server_.SetIndex({kFaces, kBroken});
  ASSERT_EQ(Ask().result, Result::kReady);
  server_.Stop();
  ASSERT_TRUE(Becomes(Result::kUnanswered));
  server_.SetIndex({kFaces, kLoading});
  server_.Start();
  ASSERT_TRUE(Eventually([this] { return Ask().result != Result::kUnanswered; }));
  std::this_thread::sleep_for(kIndexPause);
  EXPECT_EQ(Ask().result, Result::kNotReady);
  EXPECT_EQ(server_.model_ready_calls, 0);
}

TEST_F(ReadinessChecksTest, AModelThatIsKnownIsAskedForAlone) {
  server_.ready = false;
  server_.SetIndex({kFaces, kPeople, kBroken});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask().result, Result::kReady) << i;
  EXPECT_EQ(server_.index_calls, 1);
  EXPECT_EQ(server_.model_ready_calls, 3);
  std::this_thread::sleep_for(kIndexPause);
  server_.SetIndex({kPeople, kBroken});
  EXPECT_EQ(Ask().result, Result::kReady) << "there is another one";
  EXPECT_EQ(server_.index_calls, 2);
  server_.SetIndex({kBroken});
  EXPECT_TRUE(Becomes(Result::kNotReady));
}

TEST_F(ReadinessChecksTest, TheIndexIsAskedForOnceASecond) {
  server_.ready = false;
  const TimePoint start = Clock::now();
  for (int i = 0; i < 30; ++i) EXPECT_EQ(Ask().result, Result::kNotReady);
  EXPECT_EQ(server_.ready_calls, 30);
  EXPECT_LE(server_.index_calls, 1 + (Clock::now() - start) / seconds(1));
}

TEST_F(ReadinessChecksTest, AServerWithoutAnIndexIsTakenAtItsWord) {
  server_.ready = false;
  server_.SetIndex({kFaces});
  server_.on_index = [] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""); };
  EXPECT_EQ(Ask().result, Result::kNotReady);
}

TEST_F(ReadinessChecksTest, AnIndexMayTakeLonger) {
  server_.ready = false;
  server_.SetIndex({kFaces});
  server_.on_index = [] {
    std::this_thread::sleep_for(milliseconds(1'200));
    return grpc::Status::OK;
  };
  questions_.Ask(0, Deadline::After(seconds(1)));
  const auto answer = questions_.Next(Deadline::After(seconds(40)));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->result, Result::kReady);
}

TEST_F(ReadinessChecksTest, ASilentServerKeepsNoOtherWaiting) {
  server_.SetDelay(seconds(60));
  questions_.Ask(0, Deadline::After(milliseconds(300)));
  questions_.Ask(1, Deadline::After(seconds(20)));
  auto answer = questions_.Next(Deadline::After(seconds(40)));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->server, 1U);
  EXPECT_TRUE(questions_.IsOut(0));
  EXPECT_FALSE(questions_.IsOut(1));
  answer = questions_.Next(Deadline::After(seconds(40)));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->server, 0U);
  EXPECT_EQ(answer->result, Result::kUnanswered);
  EXPECT_FALSE(questions_.AnyOut());
}

TEST_F(ReadinessChecksTest, AQuestionThatIsOutPastItsDeadlineAndAGraceIsOverdueAndCancelled) {
  server_.SetDelay(seconds(300));
  const Deadline deadline = Deadline::After(seconds(200));
  EXPECT_FALSE(questions_.IsOverdue(0, deadline.at() + seconds(1))) << "none is out";
  questions_.Ask(0, deadline);
  EXPECT_FALSE(questions_.IsOverdue(0, deadline.at()));
  EXPECT_FALSE(questions_.IsOverdue(0, deadline.at() + kGrace - milliseconds(1)));
  EXPECT_TRUE(questions_.IsOut(0));
  EXPECT_TRUE(questions_.IsOverdue(0, deadline.at() + kGrace));
  const auto answer = questions_.Next(Deadline::After(seconds(40)));
  ASSERT_TRUE(answer) << "it was cancelled, so it ends before its deadline";
  EXPECT_FALSE(answer->ready.ok());
  EXPECT_FALSE(questions_.AnyOut());
}

// Without a sanitizer that finds leaks, the allocator has to tell.
TEST_F(ReadinessChecksTest, WithNothingOutNothingIsLeftToGrpc) {
  constexpr std::size_t kRounds = 2'000;
  const auto round = [this] { ReadinessChecks({stub_.get()}); };
  for (std::size_t i = 0; i < 10; ++i) round();
  const std::size_t before = mallinfo2().uordblks;
  for (std::size_t i = 0; i < kRounds; ++i) round();
  const std::size_t after = mallinfo2().uordblks;
  EXPECT_LT(after, before + kRounds * 64) << "a queue takes some hundred bytes";
}

TEST_F(ReadinessChecksTest, EveryQuestionMayBeLeftOut) {
  server_.ready = false;
  server_.SetIndex({kFaces});
  ASSERT_EQ(Ask().result, Result::kReady);
  server_.SetDelay(seconds(60));
  questions_.Ask(0, Deadline::After(seconds(50)));
  EXPECT_FALSE(questions_.Next(Deadline::After(milliseconds(50))));
}

// ---- Servers that have less than Triton

TEST_F(ReadinessChecksTest, WithoutServerReadyAModelThatIsKnownSaysIt) {
  server_.Lacks({"ServerReady", "RepositoryIndex"});
  server_.SetIndex({kFaces});
  ReadinessChecks checks({stub_.get()}, [](std::size_t) {
    return std::vector<std::string>{"none", "faces"};
  });
  for (int i = 0; i < 3; ++i) {
    const auto answer = Ask(checks);
    EXPECT_EQ(answer.result, Result::kReady) << answer.ready;
    EXPECT_FALSE(answer.in_part);
  }
  server_.SetIndex({});
  EXPECT_EQ(Ask(checks).result, Result::kNotReady);
  server_.SetIndex({kFaces});
  EXPECT_EQ(Ask(checks).result, Result::kReady);
}

TEST_F(ReadinessChecksTest, WithoutServerReadyAnIndexSaysIt) {
  server_.Lacks({"ServerReady"});
  server_.SetIndex({{"faces", "", "State.READY"}});  // as MLServer writes it
  EXPECT_EQ(Ask().result, Result::kReady);
}

TEST_F(ReadinessChecksTest, WithNeitherItIsReadyWhenItIsLive) {
  server_.Lacks({"ServerReady", "RepositoryIndex"});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask().result, Result::kReady) << i;
  EXPECT_EQ(server_.index_calls, 1) << "it is not asked again and again for what it has not";
}

TEST_F(ReadinessChecksTest, OneThatHasModelsAloneIsReady) {
  server_.Lacks({"ServerReady", "RepositoryIndex", "ServerLive"});
  EXPECT_EQ(Ask().result, Result::kReady);
}

TEST_F(ReadinessChecksTest, OneThatOnlyDescribesOrInfersIsReady) {
  server_.Lacks({"ServerReady", "RepositoryIndex", "ServerLive", "ModelReady"});
  EXPECT_EQ(Ask().result, Result::kReady);
  server_.Lacks({"ServerReady", "RepositoryIndex", "ServerLive", "ModelReady", "ModelMetadata"});
  EXPECT_EQ(Ask().result, Result::kReady);
}

TEST_F(ReadinessChecksTest, OneOfSeveralNeedNotHaveTheModelsThatAreNamed) {
  server_.Lacks({"ServerReady", "RepositoryIndex"});
  server_.SetIndex({});
  const auto named = [](std::size_t) { return std::vector<std::string>{"faces"}; };
  ReadinessChecks alone({stub_.get()}, named);
  EXPECT_EQ(Ask(alone).result, Result::kNotReady) << "alone it has yet to load it";
  ReadinessChecks one_of_two({stub_.get(), stub_.get()}, named);
  EXPECT_EQ(Ask(one_of_two).result, Result::kReady);
}

TEST_F(ReadinessChecksTest, AServerOfAnotherProtocolIsNot) {
  server_.Lacks({"ServerReady", "RepositoryIndex", "ServerLive", "ModelReady", "ModelMetadata",
                 "ModelInfer"});
  const auto answer = Ask();
  EXPECT_EQ(answer.result, Result::kNotReady);
  EXPECT_NE(answer.ready.ToString().find("does not speak KServe v2"), std::string::npos);
}

TEST_F(ReadinessChecksTest, OneThatSaysNoAndHasNoIndexIsAskedAboutItsModels) {
  server_.ready = false;
  server_.Lacks({"RepositoryIndex"});
  server_.SetIndex({kFaces});
  EXPECT_EQ(Ask().result, Result::kNotReady) << "no model is known";
  ReadinessChecks checks({stub_.get()},
                         [](std::size_t) { return std::vector<std::string>{"faces"}; });
  const auto answer = Ask(checks);
  EXPECT_EQ(answer.result, Result::kReady);
  EXPECT_TRUE(answer.in_part);
}

}  // namespace
}  // namespace inferpool::backend
