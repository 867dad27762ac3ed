#include "worker/backend/rpc/client.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "proto/tensor.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeDetector;
using test::FakeModel;
using test::FakeModelServer;

Deadline In(Clock::duration time) {
  return Deadline::After(time);
}

class ClientTest : public testing::Test {
 protected:
  FakeModelServer server_;
  const Client client_{{server_.target()}, 16};
};

inference::ModelInferRequest InferRequest(std::size_t bytes = 12) {
  inference::ModelInferRequest request;
  request.set_model_name("faces");
  const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(bytes)};
  AddRawInput(request, "image", inference::TYPE_UINT8, shape).assign(bytes, 'x');
  return request;
}

TEST_F(ClientTest, TheServerIsReadyWhenItSaysSo) {
  EXPECT_TRUE(client_.ServerReady(In(seconds(5))).ok());
  server_.ready = false;
  EXPECT_TRUE(absl::IsUnavailable(client_.ServerReady(In(seconds(5)))));
  server_.ready = true;
  EXPECT_TRUE(client_.ServerReady(In(seconds(5))).ok());
}

TEST_F(ClientTest, ModelsAreSortedAndEachIsThereOnce) {
  server_.SetIndex({{"people", "1"}, {"faces", "1"}, {"faces", "2"}, {"x", "1", "UNAVAILABLE"}});
  const auto names = client_.Models(In(seconds(5)));
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_EQ(*names, (std::vector<std::string>{"faces", "people"}));
  EXPECT_TRUE(server_.index_asked_for_ready);
  server_.SetIndex({});
  EXPECT_TRUE(client_.Models(In(seconds(5)))->empty());
}

TEST_F(ClientTest, WithoutAnIndexModelsAreThoseThatAreNamedAndThoseThatWereFound) {
  server_.Lacks({"RepositoryIndex", "ModelConfig", "ServerReady"});
  server_.Set("faces", FakeDetector("faces"));
  const Client client({server_.target()}, 16, {.models = {"named"}});
  EXPECT_EQ(*client.Models(In(seconds(5))), std::vector<std::string>{"named"});
  const auto described = client.Describe("faces", 0, In(seconds(5)));
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_FALSE(described->has_config);
  EXPECT_EQ(*client.Models(In(seconds(5))), (std::vector<std::string>{"faces", "named"}));
  EXPECT_TRUE(client.ServerReady(In(seconds(5))).ok());
  server_.Remove("faces");
  EXPECT_EQ(*client.Models(In(seconds(5))), std::vector<std::string>{"named"});
}

TEST_F(ClientTest, AModelIsDescribedFromItsMetadataAndConfig) {
  FakeModel model;
  model.metadata.set_name("shapes");
  model.metadata.add_versions("1");
  model.metadata.add_versions("3");
  test::AddTensor(*model.metadata.add_inputs(), "images", "FP32", {-1, 3, 320, 320});
  test::AddTensor(*model.metadata.add_outputs(), "output0", "FP32", {-1, 8, 2100});
  test::AddTensor(*model.metadata.add_outputs(), "other", "INT64", {});
  model.config.set_max_batch_size(8);
  auto& parameters = *model.config.mutable_parameters();
  parameters["class_names"].set_string_value("circle\nsquare\n\nstar\n");
  parameters["family"].set_string_value("yolov8");
  server_.Set("shapes", model);

  const auto described = client_.Describe("shapes", 0, In(seconds(5)));
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->name, "shapes");
  EXPECT_EQ(described->version, "3");
  EXPECT_EQ(described->max_batch_size, 8);
  ASSERT_EQ(described->inputs.size(), 1U);
  EXPECT_EQ(described->inputs[0].name, "images");
  EXPECT_EQ(described->inputs[0].datatype, "FP32");
  EXPECT_EQ(described->inputs[0].shape, (std::vector<std::int64_t>{-1, 3, 320, 320}));
  ASSERT_EQ(described->outputs.size(), 2U);
  EXPECT_EQ(described->outputs[0].name, "output0");
  EXPECT_EQ(described->outputs[1].datatype, "INT64");
  EXPECT_TRUE(described->outputs[1].shape.empty());
  EXPECT_EQ(described->class_names, (std::vector<std::string>{"circle", "square", "", "star"}))
      << "a name's place is its class id";
  EXPECT_EQ(described->parameters, (std::map<std::string, std::string>{{"family", "yolov8"}}));
}

TEST_F(ClientTest, AModelThatSaysLittleIsDescribedToo) {
  server_.Set("bare", FakeModel{});
  const auto described = client_.Describe("bare", 0, In(seconds(5)));
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->version, "");
  EXPECT_TRUE(described->inputs.empty());
  EXPECT_TRUE(described->class_names.empty());
}

TEST_F(ClientTest, AnUnknownModelIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(client_.Describe("none", 0, In(seconds(5))).status()));
  EXPECT_TRUE(absl::IsNotFound(client_.Infer(InferRequest(), {In(seconds(5))}).status()));
}

TEST_F(ClientTest, TheServersCodeAndTextAreKept) {
  for (int code = 1; code <= 16; ++code) {
    server_.SetFailure({static_cast<grpc::StatusCode>(code), "the reason"});
    for (const absl::Status& status : {client_.RepositoryIndex(true, {In(seconds(5))}).status(),
                                       client_.Describe("faces", 0, In(seconds(5))).status(),
                                       client_.Infer(InferRequest(), {In(seconds(5))}).status()}) {
      const auto wanted = static_cast<absl::StatusCode>(code);
      // CANCELLED is our own doing; a server that cancels cannot take the call now.
      EXPECT_EQ(status.code(),
                wanted == absl::StatusCode::kCancelled ? absl::StatusCode::kUnavailable : wanted)
          << status;
      EXPECT_NE(std::string(Message(status)).find("the reason"), std::string::npos) << status;
    }
  }
}

TEST_F(ClientTest, InferBringsTheAnswerBack) {
  FakeModel model = FakeDetector("faces");
  model.infer = [](const auto& request, auto* response) {
    response->add_raw_output_contents(request.raw_input_contents(0) + "!");
    return grpc::Status::OK;
  };
  server_.Set("faces", model);
  const auto answer = client_.Infer(InferRequest(3), {In(seconds(5))});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->raw_output_contents(0), "xxx!");
  EXPECT_EQ(answer->model_version(), "1");
}

TEST_F(ClientTest, ACallThatNobodyWaitsForAnyMoreIsCancelledAtOnce) {
  server_.Set("faces", FakeDetector("faces"));
  ASSERT_TRUE(client_.Infer(InferRequest(), {In(seconds(5))}).ok());
  server_.SetDelay(seconds(5));
  std::stop_source departed;
  std::jthread client([&departed] {
    std::this_thread::sleep_for(milliseconds(100));
    departed.request_stop();
  });
  const TimePoint start = Clock::now();
  const absl::Status status =
      client_.Infer(InferRequest(), {In(seconds(10)), departed.get_token()}).status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_GE(Clock::now() - start, milliseconds(90));
  EXPECT_LT(Clock::now() - start, milliseconds(1'500));
}

TEST_F(ClientTest, WhoHasLeftBeforeTheCallHasItCancelled) {
  server_.Set("faces", FakeDetector("faces"));
  server_.SetDelay(seconds(5));
  std::stop_source departed;
  departed.request_stop();
  const TimePoint start = Clock::now();
  EXPECT_TRUE(absl::IsCancelled(
      client_.Infer(InferRequest(), {In(seconds(10)), departed.get_token()}).status()));
  EXPECT_LT(Clock::now() - start, milliseconds(1'500));
}

TEST_F(ClientTest, AnAnswerThatCameIsKeptThoughTheTokenStopsLater) {
  server_.Set("faces", FakeDetector("faces"));
  std::stop_source departed;
  ASSERT_TRUE(client_.Infer(InferRequest(), {In(seconds(5)), departed.get_token()}).ok());
  departed.request_stop();
  EXPECT_TRUE(client_.Infer(InferRequest(), {In(seconds(5))}).ok());
}

TEST_F(ClientTest, LargeMessagesPassInBothDirectionsUpToTheLimit) {
  FakeModel model = FakeDetector("faces");
  std::atomic<std::size_t> answer_bytes = 15'000'000;
  model.infer = [&answer_bytes](const auto&, auto* response) {
    response->add_raw_output_contents(std::string(answer_bytes, 'y'));
    return grpc::Status::OK;
  };
  server_.Set("faces", model);
  const auto answer = client_.Infer(InferRequest(15'000'000), {In(seconds(10))});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->raw_output_contents(0).size(), 15'000'000U);
  EXPECT_TRUE(absl::IsResourceExhausted(
      client_.Infer(InferRequest(17'000'000), {In(seconds(10))}).status()));
  answer_bytes = 17'000'000;
  EXPECT_TRUE(absl::IsResourceExhausted(client_.Infer(InferRequest(), {In(seconds(10))}).status()));
  answer_bytes = 10;
  EXPECT_TRUE(client_.Infer(InferRequest(), {In(seconds(10))}).ok()) << "and it goes on";
}

TEST_F(ClientTest, ACallThatTakesTooLongIsDeadlineExceededAtItsTime) {
  server_.Set("faces", FakeDetector("faces"));
  EXPECT_TRUE(client_.ServerReady(In(seconds(5))).ok());
  server_.SetDelay(seconds(3));
  for (int call = 0; call < 4; ++call) {
    const TimePoint start = Clock::now();
    const Deadline deadline = In(milliseconds(100));
    const absl::Status status = call == 0   ? client_.ServerReady(deadline)
                                : call == 1 ? client_.Models(deadline).status()
                                : call == 2 ? client_.Describe("faces", 0, deadline).status()
                                            : client_.Infer(InferRequest(), {deadline}).status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << call << ": " << status;
    EXPECT_GE(Clock::now() - start, milliseconds(90)) << call;
    EXPECT_LT(Clock::now() - start, milliseconds(900)) << call;
  }
}

TEST_F(ClientTest, TheDeadlineHoldsForBothCallsOfADescriptionTogether) {
  server_.Set("faces", FakeDetector("faces"));
  EXPECT_TRUE(client_.ServerReady(In(seconds(5))).ok());
  server_.SetDelay(milliseconds(300));  // each
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(client_.Describe("faces", 0, In(milliseconds(450))).status()));
}

TEST_F(ClientTest, ADeadlineThatHasPassedIsDeadlineExceededAtOnce) {
  const TimePoint start = Clock::now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(client_.ServerReady(Deadline(start - seconds(5)))));
  EXPECT_LT(Clock::now() - start, milliseconds(500));
}

TEST(ClientAwayTest, AServerThatNeverWasIsUnavailableAtOnce) {
  const Client client({"unix:/nonexistent/inferpool.sock"}, 16);
  const TimePoint start = Clock::now();
  for (int i = 0; i < 5; ++i) {
    const absl::Status status = client.ServerReady(In(seconds(20)));
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  }
  EXPECT_LT(Clock::now() - start, milliseconds(1'500)) << "nobody waits for the deadline";
}

TEST_F(ClientTest, AServerThatEndsIsUnavailableAtOnce) {
  EXPECT_TRUE(client_.ServerReady(In(seconds(5))).ok());
  server_.Stop();
  const TimePoint start = Clock::now();
  EXPECT_TRUE(absl::IsUnavailable(client_.ServerReady(In(seconds(20)))));
  EXPECT_LT(Clock::now() - start, milliseconds(900));
}

TEST_F(ClientTest, ACallInWorkIsUnavailableWhenTheServerEnds) {
  server_.Set("faces", FakeDetector("faces"));
  server_.SetDelay(seconds(10));
  absl::Status status;
  TimePoint ended;
  std::thread call([&] {
    status = client_.Infer(InferRequest(), {In(seconds(20))}).status();
    ended = Clock::now();
  });
  for (int i = 0; i < 5'000 && server_.infer_calls == 0; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  const TimePoint stopped = Clock::now();
  server_.Stop();
  call.join();
  // A server that shuts down in order cancels its calls, one that dies breaks them.
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsCancelled(status)) << status;
  EXPECT_LT(ended - stopped, milliseconds(900));
}

TEST_F(ClientTest, IsSharedByManyThreads) {
  server_.Set("faces", FakeDetector("faces"));
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 25; ++j) {
          good += client_.Infer(InferRequest(), {In(seconds(10))}).ok() ? 1 : 0;
          good += client_.Describe("faces", 0, In(seconds(10))).ok() ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(good, 400);
}

TEST(ClientProxyTest, AWebProxyOfTheEnvironmentIsNotUsed) {
  const FakeModelServer server;
  setenv("http_proxy", "http://127.0.0.1:9", 1);
  const Client client({"ipv4:127.0.0.1:" + std::to_string(server.port())}, 16);
  EXPECT_TRUE(client.ServerReady(In(seconds(5))).ok());
  unsetenv("http_proxy");
}

}  // namespace
}  // namespace inferpool::backend
