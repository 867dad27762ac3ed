// backend::InferenceClient: the call from a row to its answer, with servers that really map the
// worker's memory, some of which are away, busy, or forget.
#include "worker/backend/inference_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <latch>
#include <thread>
#include <vector>

#include "tests/unit/worker/backend/shm/memory_server.h"
#include "tests/unit/worker/backend/shm/shared_memory_folder.h"
#include "worker/backend/rpc/grpc_status.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using test::MemoryServer;

constexpr std::size_t kRowBytes = 1000;
constexpr std::int64_t kRow[] = {kRowBytes};

bool Eventually(const std::function<bool()>& condition) {
  const TimePoint end = Clock::now() + seconds(20);
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

class InferenceClientTest : public testing::Test {
 protected:
  // With a client of the `servers` first servers.
  void Start(Transport transport, std::size_t servers = 1, BatchLimits batch = {}) {
    std::vector<std::string> targets = {server_.target(), other_.target()};
    targets.resize(servers);
    inference_.reset();  // before its client
    client_ = std::make_unique<Client>(targets, 16, ClientOptions{.counts = &counts_});
    ASSERT_TRUE(client_->ServerReady(Soon()).ok());
    inference_ =
        std::make_unique<InferenceClient>(*client_, InferenceOptions{.transport = transport,
                                                                     .arena_bytes = 64 << 10,
                                                                     .batch = batch,
                                                                     .domain = folder_.domain()});
  }

  static std::shared_ptr<const Model> MakeModel() {
    auto model = std::make_shared<Model>(Model{.description = {}, .plan = vision::ModelPlan()});
    model->description = {.name = "model",
                          .version = "1",
                          .max_batch_size = 8,
                          .inputs = {{"in", "UINT8", {-1, kRowBytes}}},
                          .outputs = {{"out", "UINT8", {-1, kRowBytes}}},
                          .class_names = {},
                          .parameters = {}};
    model->plan->input_name = "in";
    model->plan->has_batch_dimension = true;
    model->plan->outputs = {"out"};
    return model;
  }

  static Deadline Soon() { return Deadline::After(seconds(30)); }

  absl::StatusOr<InferenceClient::Row> Begin(const CallLimits& limits) {
    return inference_->Begin(model_, kRow, kRowBytes, limits);
  }
  // A call of one row; the server adds one to each byte.
  absl::Status Call(const CallLimits& limits) {
    auto row = Begin(limits);
    if (!row.ok()) return row.status();
    std::memset(row->bytes().data(), 'a', kRowBytes);
    const absl::StatusOr<RowAnswer> answer = row->Infer();
    if (!answer.ok()) return answer.status();
    const auto bytes = RowOf(*answer->answer->Find("out"), answer->rows, answer->row);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    for (const std::byte byte : *bytes) EXPECT_EQ(byte, std::byte{'b'});
    return absl::OkStatus();
  }
  absl::Status Call() { return Call({Soon()}); }

  // Where the next row comes to lie. The lowest free place: what was used and is free again.
  const std::byte* NextPlace() {
    auto row = Begin({Soon()});
    EXPECT_TRUE(row.ok()) << row.status();
    return row->bytes().data();
  }

  std::uint64_t Count(ModelCall what) const {
    return counts_.events[static_cast<std::size_t>(what)];
  }

  const test::SharedMemoryFolder folder_;
  std::atomic<bool> answers_ = false;  // for servers that wait with it; outlives them
  MemoryServer server_;
  MemoryServer other_;
  ModelCallCounts counts_{};
  const std::shared_ptr<const Model> model_ = MakeModel();
  std::unique_ptr<Client> client_;
  std::unique_ptr<InferenceClient> inference_;
};

// ---- The way to each server

TEST_F(InferenceClientTest, ARowGoesBySharedMemory) {
  for (const Transport transport : {Transport::kAuto, Transport::kShm}) {
    server_.by_reference = 0;
    Start(transport);
    EXPECT_TRUE(Call().ok());
    EXPECT_EQ(server_.by_reference, 1);
  }
}

TEST_F(InferenceClientTest, ARowGoesInTheMessage) {
  Start(Transport::kInline);
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.infer_calls, 1);
  EXPECT_EQ(server_.by_reference, 0);
  EXPECT_EQ(server_.register_calls, 0);
}

TEST_F(InferenceClientTest, EachServerIsSentTheRowAsItCanTakeIt) {
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no"); });
  Start(Transport::kAuto, 2);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.infer_calls, 2);
  EXPECT_EQ(server_.by_reference, 0);
  EXPECT_EQ(other_.infer_calls, 2);
  EXPECT_EQ(other_.by_reference, 2);
}

TEST_F(InferenceClientTest, ARepetitionIsEncodedForTheServerThatItGoesTo) {
  server_.OnInfer([](const auto&) { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "busy"); });
  other_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no"); });
  Start(Transport::kAuto, 2);
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.by_reference, 1);
  EXPECT_EQ(other_.infer_calls, 1);
  EXPECT_EQ(other_.by_reference, 0);
  EXPECT_EQ(Count(ModelCall::kMade), 1U);
  EXPECT_EQ(Count(ModelCall::kRetried), 1U);
}

TEST_F(InferenceClientTest, TheErrorOfALoneServerIsTheCalls) {
  Start(Transport::kAuto);
  server_.OnInfer([](const auto&) { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "busy"); });
  EXPECT_TRUE(absl::IsUnavailable(Call()));
  server_.OnInfer(
      [](const auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "no model"); });
  EXPECT_TRUE(absl::IsNotFound(Call()));
  EXPECT_EQ(server_.infer_calls, 2) << "neither is asked again";
  server_.OnInfer([](const auto&) { return grpc::Status(); });
  EXPECT_TRUE(absl::IsDeadlineExceeded(Call({Deadline::After(-seconds(1))})));
  EXPECT_EQ(server_.infer_calls, 2);
  server_.Stop();
  EXPECT_TRUE(absl::IsUnavailable(Call()));
}

TEST_F(InferenceClientTest, AClientThatHasLeftBeforeCostsNoCall) {
  Start(Transport::kAuto);
  std::stop_source departed;
  departed.request_stop();
  EXPECT_TRUE(absl::IsCancelled(Call({Soon(), departed.get_token()})));
  EXPECT_EQ(server_.infer_calls, 0);
  EXPECT_EQ(Count(ModelCall::kMade), 0U);
}

// ---- Servers that forget

TEST_F(InferenceClientTest, AServerThatWasRestartedIsToldAgain) {
  Start(Transport::kShm);
  ASSERT_TRUE(Call().ok());
  server_.ForgetAll();
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.register_calls, 2);
  EXPECT_EQ(server_.infer_calls, 3);
  EXPECT_EQ(server_.by_reference, 3);
}

TEST_F(InferenceClientTest, AllServersMayHaveBeenRestarted) {
  Start(Transport::kShm, 2);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Call().ok());
  server_.ForgetAll();
  other_.ForgetAll();
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.infer_calls + other_.infer_calls, 5) << "two refusals and the answer";
  EXPECT_EQ(Count(ModelCall::kMade), 5U);
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

// As one of several servers behind one name.
TEST_F(InferenceClientTest, AServerThatKeepsForgettingIsSentTheRowInTheMessage) {
  Start(Transport::kAuto);
  server_.OnInfer([this](const auto&) {
    server_.ForgetAll();
    return grpc::Status();
  });
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.by_reference, 2) << "it is told once more";
  EXPECT_EQ(server_.infer_calls, 3);
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(server_.infer_calls, 4) << "and is spared for a while";
  EXPECT_EQ(server_.by_reference, 2);
}

TEST_F(InferenceClientTest, AServerThatWasStartedAnewIsAskedAgainForSharedMemory) {
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "is off"); });
  for (const Transport transport : {Transport::kAuto, Transport::kShm}) {
    const bool must = transport == Transport::kShm;
    server_.by_reference = 0;
    Start(transport);
    EXPECT_EQ(IsNotSetUp(Call()), must);
    EXPECT_EQ(Call().ok(), !must);
    EXPECT_EQ(server_.by_reference, 0);
    server_.Stop();
    server_.OnCall([] { return grpc::Status(); });
    server_.Start();
    EXPECT_TRUE(Eventually([&] { return Call().ok() && server_.by_reference > 0; }));
    server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "is off"); });
    server_.ForgetAll();
  }
}

TEST_F(InferenceClientTest, WhereSharedMemoryIsAMustServersThatTakeItDoTheWork) {
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "is off"); });
  Start(Transport::kShm, 2);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Call().ok());
  EXPECT_EQ(other_.infer_calls, 10);
  EXPECT_EQ(server_.register_calls, 1);
  EXPECT_EQ(server_.infer_calls, 0);
  EXPECT_EQ(Count(ModelCall::kRetried), 0U);
}

// No matter that others take the turns in between: a call that comes to such a server begins again,
// but not for ever.
TEST_F(InferenceClientTest, WhereSharedMemoryIsAMustAServerThatTakesNoneForNowIsPassedOver) {
  server_.OnCall(
      [] { return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many regions"); });
  Start(Transport::kShm, 2);
  for (std::uint64_t i = 1; i <= 10; ++i) EXPECT_TRUE(Call().ok());
  EXPECT_EQ(other_.infer_calls, 10);
  const auto asked = static_cast<std::uint64_t>(server_.register_calls);
  EXPECT_EQ(Count(ModelCall::kMade), 10U + asked) << "only who asked it had to begin again";
  server_.OnCall([] { return grpc::Status(); });
  EXPECT_TRUE(Eventually([&] { return Call().ok() && server_.infer_calls > 0; }));
}

TEST_F(InferenceClientTest, WhereSharedMemoryIsAMustAServerThatKeepsForgettingIsAnError) {
  Start(Transport::kShm, 2);
  for (MemoryServer* server : {&server_, &other_}) {
    server->OnInfer([server](const auto&) {
      server->ForgetAll();
      return grpc::Status();
    });
  }
  EXPECT_TRUE(IsRegionUnknown(Call()));
  EXPECT_EQ(server_.infer_calls + other_.infer_calls, 3) << "one more than there are servers";
}

TEST_F(InferenceClientTest, ACallThatBeginsAgainForgetsNoFailure) {
  // The first is busy each time; the other one has forgotten.
  Start(Transport::kShm, 2);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Call().ok());
  server_.OnInfer([](const auto&) { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "busy"); });
  other_.ForgetAll();
  EXPECT_TRUE(Call().ok()) << "busy; forgotten; and then the other one in turn";
  EXPECT_EQ(other_.register_calls, 2);
}

// ---- What may still be written to

TEST_F(InferenceClientTest, AnAnsweredCallsMemoryIsUsedAgain) {
  Start(Transport::kShm);
  const std::byte* const place = NextPlace();
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(NextPlace(), place);
  server_.OnInfer(
      [](const auto&) { return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "bad"); });
  EXPECT_FALSE(Call().ok());
  EXPECT_EQ(NextPlace(), place) << "the server has answered";
  server_.OnInfer([](const auto&) { return grpc::Status(); });
  server_.ForgetAll();
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(NextPlace(), place) << "no server knew of it";
}

TEST_F(InferenceClientTest, AnUnansweredCallsMemoryIsNeverUsedAgain) {
  Start(Transport::kShm);
  ASSERT_TRUE(Call().ok());
  const std::byte* const place = NextPlace();
  server_.OnInfer([this](const auto&) {
    while (!answers_) std::this_thread::sleep_for(milliseconds(1));
    return grpc::Status();
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(Call({Deadline::After(milliseconds(200))})));
  ASSERT_EQ(server_.infer_calls, 2);
  // The row took 1,024 bytes, the outputs as many.
  EXPECT_GE(NextPlace() - place, 2048);
  answers_ = true;
  EXPECT_TRUE(Call().ok());
  EXPECT_GE(NextPlace() - place, 2048) << "also once the server is done";
}

TEST_F(InferenceClientTest, ARepeatedCallsMemoryIsNeverUsedAgainIfTheFirstServerMayBeAtWork) {
  Start(Transport::kShm, 2);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Call().ok());
  const std::byte* const place = NextPlace();
  std::atomic<bool> called = false;
  server_.OnInfer([&](const auto&) {
    called = true;
    std::this_thread::sleep_for(milliseconds(300));
    return grpc::Status();
  });
  std::jthread killer([&] {
    EXPECT_TRUE(Eventually([&] { return called.load(); }));
    server_.Stop();
  });
  EXPECT_TRUE(Call().ok()) << "by the other one";
  EXPECT_GE(NextPlace() - place, 2048);
}

TEST_F(InferenceClientTest, WhatWentInTheMessageIsUsedAgainOnceGrpcIsDoneWithIt) {
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no"); });
  Start(Transport::kAuto);
  const std::byte* const place = NextPlace();
  server_.OnInfer([this](const auto&) {
    while (!answers_) std::this_thread::sleep_for(milliseconds(1));
    return grpc::Status();
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(Call({Deadline::After(milliseconds(200))})));
  answers_ = true;
  EXPECT_TRUE(Eventually([&] { return NextPlace() == place; }));
}

// ---- Batches

TEST_F(InferenceClientTest, RowsOfOneModelAreJoined) {
  Start(Transport::kShm, 1, {.max_rows = 4, .wait = minutes(1)});
  std::latch called(1);
  std::latch answer(1);
  std::atomic<int> rows = 0;
  server_.OnInfer([&](const inference::ModelInferRequest& request) {
    if (server_.infer_calls == 1) {
      called.count_down();
      answer.wait();
    } else {
      rows += static_cast<int>(request.inputs(0).shape(0));
    }
    return grpc::Status();
  });
  std::vector<std::future<absl::Status>> calls;
  const auto call = [this] { return Call(); };
  calls.push_back(std::async(std::launch::async, call));
  called.wait();
  for (int i = 0; i < 3; ++i) calls.push_back(std::async(std::launch::async, call));
  std::this_thread::sleep_for(milliseconds(100));
  answer.count_down();
  for (auto& each : calls) EXPECT_TRUE(each.get().ok());
  EXPECT_EQ(rows, 3);
  EXPECT_LT(server_.infer_calls, 4) << "fewer calls than rows";
}

TEST_F(InferenceClientTest, AModelsFileIsNoRowToJoin) {
  auto model = std::make_shared<Model>(*model_);
  model->plan->input_kind = vision::InputKind::kFileBytes;
  Start(Transport::kShm, 1, {.max_rows = 4, .wait = minutes(1)});
  auto one = inference_->Begin(model, kRow, kRowBytes, {Soon()});
  auto two = inference_->Begin(model, kRow, kRowBytes, {Soon()});
  EXPECT_TRUE(two->Infer().ok()) << "it waits for nobody";
  EXPECT_TRUE(one->Infer().ok());
  EXPECT_EQ(server_.infer_calls, 2);
}

}  // namespace
}  // namespace inferpool::backend
