// The handler with a model server of the test's own: what becomes of each of its answers.
#include "worker/kserve_http/handler.h"
#include "worker/predict/side_by_side.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "tests/unit/shared/board/heavy_fixture.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"

namespace inferpool::kserve_http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

const std::string kJson =
    R"({"id":"7","inputs":[{"name":"x","shape":[2],"datatype":"UINT8","data":[1,2]}]})";

class HandlerTest : public testing::Test {
 protected:
  HandlerTest() {
    test::FakeModel model;
    model.metadata.set_name("m");
    model.infer = [this](const inference::ModelInferRequest& request,
                         inference::ModelInferResponse* response) {
      seen_ = request;
      response->set_id(request.id());
      constexpr std::int64_t kShape[] = {2};
      AddRawOutput(*response, "y", inference::TYPE_UINT8, kShape) = "ok";
      return grpc::Status::OK;
    };
    server_.Set("m", model);
    server_.SetIndex({{"m", "1"}});
  }

  static fcgi::Request Make(std::string method, std::string path, std::string_view body = "") {
    fcgi::Request request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.body_bytes = std::make_shared<char[]>(body.size());
    std::memcpy(request.body_bytes.get(), body.data(), body.size());
    request.body = {request.body_bytes.get(), body.size()};
    return request;
  }
  fcgi::Response Serve(const fcgi::Request& request, Priority priority = Priority::kNormal) {
    http::Exchange exchange{.request = request,
                            .thread_slot = heavy_.thread_slot,
                            .heavy = heavy_.steps,
                            .id = "id",
                            .problem_form = http::ProblemForm::kKserve,
                            .limits = {.deadline = Deadline::After(time_), .priority = priority},
                            .holder = holder_};
    const fcgi::Response response = Handle(exchange, {config_, client_, inference_, catalog_,
                                                      quarantine(), heavy_.work, spare_threads_});
    times_ = exchange.times;
    return response;
  }
  fcgi::Response Serve(std::string method, std::string path, std::string_view body = "") {
    return Serve(Make(std::move(method), std::move(path), body));
  }
  fcgi::Response Infer(std::string_view body = kJson) {
    return Serve("POST", "/v2/models/m/infer", body);
  }
  void UseKey(Priority priority, std::vector<std::string> models = {"*"}) {
    const auto holder = std::make_shared<http::KeyHolder>();
    holder->key.priority = priority;
    holder->key.models = std::move(models);
    holder_ = holder;
  }

  Quarantine& quarantine() { return heavy_.board.pool().quarantine; }

  static std::string Header(const fcgi::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "(none)";
  }

  Clock::duration time_ = seconds(20);
  Config config_;
  test::HeavyPool heavy_;
  predict::SpareThreads spare_threads_{0};
  http::StageTimes times_;
  inference::ModelInferRequest seen_;
  std::shared_ptr<const http::KeyHolder> holder_;
  test::FakeModelServer server_;
  const backend::Client client_{{server_.target()}, 16};
  backend::InferenceClient inference_{client_, {.domain = "handler_test"}};
  backend::Catalog catalog_{client_};
};

TEST_F(HandlerTest, AnInferenceGoesThereAndBack) {
  const fcgi::Response response = Infer();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            R"({"id":"7","model_name":"m","model_version":"1",)"
            R"("outputs":[{"name":"y","datatype":"UINT8","shape":[2],"data":[111,107]}]})");
  EXPECT_EQ(seen_.model_name(), "m");
  EXPECT_EQ(seen_.raw_input_contents(0), "\x01\x02");
  for (const Stage stage : {Stage::kPreprocess, Stage::kInfer, Stage::kPostprocess}) {
    EXPECT_TRUE(times_.Get(stage).has_value()) << static_cast<int>(stage);
  }
  EXPECT_EQ(Serve("POST", "/v2/models/m/versions/4/infer", kJson).status, 200);
  EXPECT_EQ(seen_.model_version(), "4");
}

TEST_F(HandlerTest, TheServersErrorsHaveTritonsStatuses) {
  for (const auto& [code, status] : {std::pair(grpc::StatusCode::INVALID_ARGUMENT, 400),
                                     {grpc::StatusCode::NOT_FOUND, 404},
                                     {grpc::StatusCode::INTERNAL, 500},
                                     {grpc::StatusCode::UNKNOWN, 500},
                                     {grpc::StatusCode::UNIMPLEMENTED, 501},
                                     {grpc::StatusCode::UNAVAILABLE, 503},
                                     {grpc::StatusCode::RESOURCE_EXHAUSTED, 503},
                                     {grpc::StatusCode::ALREADY_EXISTS, 400},
                                     {grpc::StatusCode::FAILED_PRECONDITION, 400}}) {
    server_.SetFailure({code, "because: of this"});
    const fcgi::Response response = Infer();
    EXPECT_EQ(response.status, status) << code;
    EXPECT_EQ(response.body, R"({"error":"because: of this"})");
    EXPECT_EQ(Header(response, "Content-Type"), "application/json");
    EXPECT_EQ(Header(response, "Retry-After"), status == 503 ? "1" : "(none)");
  }
}

TEST_F(HandlerTest, AServerThatIsSlowIs504) {
  server_.SetDelay(seconds(20));
  time_ = milliseconds(200);
  EXPECT_EQ(Infer().status, 504);
  EXPECT_EQ(Serve("GET", "/v2").status, 504);
  EXPECT_EQ(Serve("GET", "/v2/models/m").status, 504);
}

TEST_F(HandlerTest, AServerThatIsAwayIs503AndNamesNoAddress) {
  server_.Stop();
  for (const char* path : {"/v2/health/ready", "/v2", "/v2/repository/index", "/v2/models/m/stats",
                           "/v2/models/m", "/v2/models/m/ready", "/v2/models/m/config"}) {
    const fcgi::Response response = Serve("GET", path);
    EXPECT_EQ(response.status, 503) << path;
    EXPECT_EQ(Header(response, "Retry-After"), "1");
    EXPECT_EQ(response.body.find("unix:"), std::string::npos) << response.body;
  }
  EXPECT_EQ(Infer().status, 503);
  EXPECT_EQ(Serve("GET", "/v2/health/live").status, 200);
}

TEST_F(HandlerTest, AnAnswerThatIsNotSoundIs502) {
  test::FakeModel model;
  model.infer = [](const auto&, inference::ModelInferResponse* response) {
    constexpr std::int64_t kShape[] = {3};
    AddRawOutput(*response, "y", inference::TYPE_UINT8, kShape) = "ok";
    return grpc::Status::OK;
  };
  server_.Set("m", model);
  EXPECT_EQ(Infer().status, 502);
}

TEST_F(HandlerTest, ABadRequestDoesNotReachTheServer) {
  for (const char* body : {"", "{", "[]", "{}"}) EXPECT_EQ(Infer(body).status, 400) << body;
  fcgi::Request request = Make("POST", "/v2/models/m/infer", kJson);
  for (const char* length : {"x", "-1", "1x", "99999999999999999999999", "100000", "0"}) {
    request.headers = {{"inference-header-content-length", length}};
    EXPECT_EQ(Serve(request).status, 400) << length;
  }
  EXPECT_EQ(server_.infer_calls, 0);
  request.headers = {{"inference-header-content-length", std::to_string(kJson.size())},
                     {"content-encoding", "Identity"}};
  EXPECT_EQ(Serve(request).status, 200);
}

TEST_F(HandlerTest, TheBodysStatusHasItsHttpStatus) {
  for (const auto& [status, code] : {std::pair(absl::FailedPreconditionError("no length"), 411),
                                     {absl::OutOfRangeError("too long"), 413},
                                     {absl::InvalidArgumentError("no number"), 400},
                                     {absl::DataLossError("cut off"), 400},
                                     {absl::ResourceExhaustedError("too late"), 503}}) {
    fcgi::Request request = Make("POST", "/v2/models/m/infer");
    request.body_status = status;
    const fcgi::Response response = Serve(request);
    EXPECT_EQ(response.status, code);
    EXPECT_THAT(response.body, HasSubstr(std::string(Message(status))));
  }
  fcgi::Request request = Make("POST", "/v2/models/m/infer", "not packed");
  for (const auto& [encoding, code] : {std::pair("br", 415),
                                       {"gzip, gzip", 415},
                                       {"gzip", 400},
                                       {"X-Gzip", 400},
                                       {"DEFLATE", 400}}) {
    request.headers = {{"content-encoding", encoding}};
    const fcgi::Response response = Serve(request);
    EXPECT_EQ(response.status, code) << encoding;
    const std::pair<std::string, std::string> accepted("Accept-Encoding", "gzip, deflate");
    EXPECT_EQ(std::ranges::count(response.headers, accepted), code == 415 ? 1 : 0) << encoding;
  }
}

TEST_F(HandlerTest, TheIndexIsAskedForWhatIsReady) {
  EXPECT_EQ(Serve("POST", "/v2/repository/index").body,
            R"([{"name":"m","version":"1","state":"READY"}])");
  EXPECT_FALSE(server_.index_asked_for_ready);
  EXPECT_EQ(Serve("POST", "/v2/repository/index", R"({"ready":true})").status, 200);
  EXPECT_TRUE(server_.index_asked_for_ready);
  EXPECT_EQ(Serve("POST", "/v2/repository/index", R"({"ready":1})").status, 400);
  EXPECT_EQ(Serve("POST", "/v2/repository/index", "{").status, 400);
  fcgi::Request request = Make("POST", "/v2/repository/index");
  request.body_status = absl::FailedPreconditionError("no length");
  EXPECT_EQ(Serve(request).status, 200);
  EXPECT_EQ(Serve("GET", "/v2/repository/index").status, 200);
}

TEST_F(HandlerTest, AKeyHearsOfItsOwnModelsOnly) {
  server_.SetIndex({{"m", "1"}, {"mine", "1"}, {"other", "1"}});
  UseKey(Priority::kNormal, {"mi*"});
  EXPECT_EQ(Serve("GET", "/v2/repository/index").body,
            R"([{"name":"mine","version":"1","state":"READY"}])");
  UseKey(Priority::kNormal, {"none"});
  EXPECT_EQ(Serve("GET", "/v2/repository/index").body, "[]");
}

TEST_F(HandlerTest, ReadinessIsTold) {
  EXPECT_EQ(Serve("GET", "/v2/health/ready").body, R"({"ready":true})");
  EXPECT_EQ(Serve("GET", "/v2/models/m/ready").body, R"({"name":"m","ready":true})");
  const fcgi::Response other = Serve("GET", "/v2/models/other/versions/3/ready");
  EXPECT_EQ(other.status, 400);
  EXPECT_EQ(other.body, R"({"error":"model other version 3 is not ready"})");
}

TEST_F(HandlerTest, OtherMethodsAre405) {
  for (const auto& [path, method, allowed] : {std::tuple("/v2/models/m/infer", "GET", "POST"),
                                              {"/v2/repository/index", "PUT", "GET, HEAD, POST"},
                                              {"/v2/health/live", "POST", "GET, HEAD"},
                                              {"/v2/models/m/config", "DELETE", "GET, HEAD"}}) {
    const fcgi::Response response = Serve(method, path);
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(Header(response, "Allow"), allowed);
  }
  EXPECT_EQ(Serve("HEAD", "/v2/health/live").status, 200);
  EXPECT_EQ(Serve("POST", "/v2/logging").status, 403);
  EXPECT_EQ(Serve("POST", "/v2/nothing").status, 404);
}

TEST_F(HandlerTest, AnErrorsTextIsBounded) {
  const fcgi::Response response = Serve("GET", "/v2/" + std::string(100'000, 'x'));
  EXPECT_EQ(response.status, 404);
  EXPECT_LT(response.body.size(), 1'100U);
}

// A large body, in which nothing can be read.
std::string LargeJson(const std::string& datatype) {
  return R"({"inputs":[{"name":"x","datatype":")" + datatype + R"(","shape":[2],"data":[)" +
         std::string(std::size_t{3} << 20, '!') + "]}]}";
}

TEST_F(HandlerTest, TheServerIsAskedBeforeALargeBodyIsRead) {
  test::FakeModel model;
  model.metadata.set_name("m");
  test::AddTensor(*model.metadata.add_inputs(), "x", "FP32", {2});
  server_.Set("m", model);
  EXPECT_EQ(Serve("POST", "/v2/models/nosuch/infer", LargeJson("FP32")).status, 404);
  const fcgi::Response other = Serve("POST", "/v2/models/m/infer", LargeJson("INT64"));
  EXPECT_EQ(other.status, 400);
  EXPECT_THAT(other.body, HasSubstr("model m takes FP32"));
  EXPECT_THAT(Infer(LargeJson("FP32")).body, HasSubstr("element 0"));
  EXPECT_EQ(heavy_.board.Sum(Clock::now()).heavy_bytes, 0U);
}

TEST_F(HandlerTest, ALargeBodyThatFindsNoTurnIsA503) {
  HeavySteps other(heavy_.work, heavy_.board.thread_slots(0)[1], 2);
  auto step = other.Begin(std::uint64_t{1} << 40, {});
  ASSERT_TRUE(step.ok());
  time_ = seconds(2);  // in which the server is asked first
  const fcgi::Response response = Infer(LargeJson("FP32"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
  // A small one asks for no turn.
  time_ = seconds(20);
  EXPECT_EQ(Infer().status, 200);
}

class PriorityTest : public HandlerTest {
 protected:
  PriorityTest() {
    test::FakeModel model;
    model.config.mutable_dynamic_batching()->set_priority_levels(5);
    model.config.mutable_dynamic_batching()->set_default_priority_level(3);
    model.infer = [this](const inference::ModelInferRequest& request, auto*) {
      const auto found = request.parameters().find("priority");
      level_ = found == request.parameters().end() ? 0
               : found->second.has_uint64_param()  ? found->second.uint64_param()
                                                   : std::uint64_t(found->second.int64_param());
      return grpc::Status::OK;
    };
    server_.Set("urgent", model);
  }

  // The level that the model server was told; 0: none.
  std::uint64_t LevelAt(const std::string& named, Priority priority = Priority::kNormal) {
    level_ = kNotAsked;
    const std::string parameters = named.empty() ? "" : R"("priority":)" + named;
    const std::string body = R"({"inputs":[],"parameters":{)" + parameters + "}}";
    EXPECT_EQ(Serve(Make("POST", "/v2/models/urgent/infer", body), priority).status, 200);
    return level_;
  }

  static constexpr std::uint64_t kNotAsked = 99;
  std::atomic<std::uint64_t> level_ = kNotAsked;
};

TEST_F(PriorityTest, ThePriorityIsAskedForInEitherWay) {
  EXPECT_EQ(LevelAt(""), 0);
  EXPECT_EQ(server_.metadata_calls, 0);
  EXPECT_EQ(LevelAt("2"), 2);
  EXPECT_EQ(server_.metadata_calls, 0);
  EXPECT_EQ(LevelAt("", Priority::kHigh), 1);
  EXPECT_EQ(LevelAt("", Priority::kLow), 5);
}

TEST_F(PriorityTest, AKeyBoundsThePriority) {
  UseKey(Priority::kNormal);
  EXPECT_EQ(LevelAt(""), 0);
  EXPECT_EQ(LevelAt("1"), 3);
  EXPECT_EQ(LevelAt("18446744073709551615"), ~0ULL);  // as the model server will say
  EXPECT_EQ(LevelAt("4"), 4);
  EXPECT_EQ(LevelAt("0"), 3);
  UseKey(Priority::kLow);
  EXPECT_EQ(LevelAt("1"), 5);
  EXPECT_EQ(LevelAt("0"), 5);
  EXPECT_EQ(LevelAt("-7"), 5);
  EXPECT_EQ(LevelAt("true"), 5);
  EXPECT_EQ(LevelAt("", Priority::kLow), 5);
  UseKey(Priority::kHigh);
  EXPECT_EQ(LevelAt("1"), 1);
}

TEST_F(HandlerTest, WhatCrashedAWorkerIsNotTriedAgain) {
  const std::string body = R"({"inputs":[]})";
  const fcgi::Request request = Make("POST", "/v2/models/m/infer", body);
  EXPECT_EQ(Serve(request).status, 200);
  EXPECT_EQ(heavy_.thread_slot.task.Load()->digest, quarantine().DigestOf(body));
  quarantine().Enter({.digest = quarantine().DigestOf(body),
                      .model = ModelName("m"),
                      .request_id = RequestName("before"),
                      .until_ns = ToNs(Clock::now() + std::chrono::hours(1))});
  EXPECT_EQ(Serve(request).status, 422);
}

}  // namespace
}  // namespace inferpool::kserve_http
