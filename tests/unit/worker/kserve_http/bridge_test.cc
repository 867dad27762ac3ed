// The bridge against a model server of the test's own: what becomes of each of its answers.
#include "worker/kserve_http/bridge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "proto/tensor.h"
#include "tests/unit/shared/board/heavy_fixture.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"

namespace inferpool::rest {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using To = Route::To;

const std::string kJson =
    R"({"id":"7","inputs":[{"name":"x","shape":[2],"datatype":"UINT8","data":[1,2]}]})";

class BridgeTest : public testing::Test {
 protected:
  BridgeTest() {
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
    server_.index = {{"m", "1"}};
  }

  fcgi::Request Make(std::string method, std::string_view body = "") {
    fcgi::Request request;
    request.method = std::move(method);
    request.path = "/v2/x";
    request.body_bytes = std::make_shared<char[]>(body.size());
    std::memcpy(request.body_bytes.get(), body.data(), body.size());
    request.body = {request.body_bytes.get(), body.size()};
    return request;
  }
  fcgi::Response Serve(const Route& route, const fcgi::Request& request) {
    const backend::CallLimits limits{.deadline = Deadline::After(time_)};
    times_ = {};
    return rest::Serve(route, {request, limits, 1'000'000, heavy_.steps}, client_, times_);
  }
  fcgi::Response Infer(std::string_view body = kJson) {
    return Serve({To::kInfer, "m"}, Make("POST", body));
  }

  static std::string Header(const fcgi::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "(none)";
  }

  Clock::duration time_ = seconds(20);
  test::HeavyPool heavy_;
  Times times_;
  inference::ModelInferRequest seen_;
  test::FakeModelServer server_;
  const backend::Client client_{{server_.target()}, 16};
};

TEST_F(BridgeTest, AnInferenceGoesThereAndBack) {
  const fcgi::Response response = Infer();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            R"({"id":"7","model_name":"m","model_version":"1",)"
            R"("outputs":[{"name":"y","datatype":"UINT8","shape":[2],"data":[111,107]}]})");
  EXPECT_EQ(seen_.model_name(), "m");
  EXPECT_EQ(seen_.raw_input_contents(0), "\x01\x02");
  EXPECT_TRUE(times_.decode && times_.infer && times_.encode);
  EXPECT_EQ(Serve({To::kInfer, "m", "4"}, Make("POST", kJson)).status, 200);
  EXPECT_EQ(seen_.model_version(), "4");
}

TEST_F(BridgeTest, TheServersErrorsHaveTritonsStatuses) {
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

TEST_F(BridgeTest, AServerThatIsSlowIs504) {
  server_.SetDelay(seconds(20));
  time_ = milliseconds(200);
  EXPECT_EQ(Infer().status, 504);
  EXPECT_EQ(Serve({To::kServerMetadata}, Make("GET")).status, 501);  // the test's has none
  EXPECT_EQ(Serve({To::kModelMetadata, "m"}, Make("GET")).status, 504);
}

TEST_F(BridgeTest, AServerThatIsAwayIs503AndNamesNoAddress) {
  server_.Stop();
  for (const To to : {To::kReady, To::kServerMetadata, To::kIndex, To::kStatistics,
                      To::kModelMetadata, To::kModelReady, To::kModelConfig}) {
    const fcgi::Response response = Serve({to, "m"}, Make("GET"));
    EXPECT_EQ(response.status, 503) << static_cast<int>(to);
    EXPECT_EQ(Header(response, "Retry-After"), "1");
    EXPECT_EQ(response.body.find("unix:"), std::string::npos) << response.body;
  }
  EXPECT_EQ(Infer().status, 503);
  EXPECT_EQ(Serve({To::kLive}, Make("GET")).status, 200);
}

TEST_F(BridgeTest, AnAnswerThatIsNotSoundIs502) {
  test::FakeModel model;
  model.infer = [](const auto&, inference::ModelInferResponse* response) {
    constexpr std::int64_t kShape[] = {3};
    AddRawOutput(*response, "y", inference::TYPE_UINT8, kShape) = "ok";
    return grpc::Status::OK;
  };
  server_.Set("m", model);
  EXPECT_EQ(Infer().status, 502);
}

TEST_F(BridgeTest, ABadRequestDoesNotReachTheServer) {
  for (const char* body : {"", "{", "[]", "{}"}) EXPECT_EQ(Infer(body).status, 400) << body;
  fcgi::Request request = Make("POST", kJson);
  for (const char* length : {"x", "-1", "1x", "99999999999999999999999", "100000", "0"}) {
    request.headers = {{"inference-header-content-length", length}};
    EXPECT_EQ(Serve({To::kInfer, "m"}, request).status, 400) << length;
  }
  EXPECT_EQ(server_.infer_calls, 0);
  request.headers = {{"inference-header-content-length", std::to_string(kJson.size())},
                     {"content-encoding", "Identity"}};
  EXPECT_EQ(Serve({To::kInfer, "m"}, request).status, 200);
}

TEST_F(BridgeTest, TheBodysStatusHasItsHttpStatus) {
  for (const auto& [status, code] : {std::pair(absl::FailedPreconditionError("no length"), 411),
                                     {absl::OutOfRangeError("too long"), 413},
                                     {absl::InvalidArgumentError("no number"), 400},
                                     {absl::DataLossError("cut off"), 400},
                                     {absl::ResourceExhaustedError("too late"), 503}}) {
    fcgi::Request request = Make("POST");
    request.body_status = status;
    const fcgi::Response response = Serve({To::kInfer, "m"}, request);
    EXPECT_EQ(response.status, code);
    EXPECT_THAT(response.body, HasSubstr(std::string(Message(status))));
  }
  fcgi::Request request = Make("POST", "not packed");
  for (const auto& [encoding, code] : {std::pair("br", 415), {"gzip", 400}, {"DEFLATE", 400}}) {
    request.headers = {{"content-encoding", encoding}};
    EXPECT_EQ(Serve({To::kInfer, "m"}, request).status, code) << encoding;
  }
}

TEST_F(BridgeTest, TheIndexIsAskedForWhatIsReady) {
  EXPECT_EQ(Serve({To::kIndex}, Make("POST")).body,
            R"([{"name":"m","version":"1","state":"READY"}])");
  EXPECT_FALSE(server_.index_asked_for_ready);
  EXPECT_EQ(Serve({To::kIndex}, Make("POST", R"({"ready":true})")).status, 200);
  EXPECT_TRUE(server_.index_asked_for_ready);
  EXPECT_EQ(Serve({To::kIndex}, Make("POST", R"({"ready":1})")).status, 400);
  EXPECT_EQ(Serve({To::kIndex}, Make("POST", "{")).status, 400);
  fcgi::Request request = Make("POST");
  request.body_status = absl::FailedPreconditionError("no length");
  EXPECT_EQ(Serve({To::kIndex}, request).status, 200);
  EXPECT_EQ(Serve({To::kIndex}, Make("GET")).status, 200);
}

TEST_F(BridgeTest, TheCallerHasTheLastWord) {
  const backend::CallLimits limits{.deadline = Deadline::After(time_)};
  const fcgi::Request get = Make("GET");
  const auto nothing = [](std::string_view) { return false; };
  EXPECT_EQ(
      rest::Serve({To::kIndex}, {get, limits, 1, heavy_.steps, nothing}, client_, times_).body,
      "[]");
  const fcgi::Request post = Make("POST", kJson);
  const auto amend = [](inference::ModelInferRequest& request) { request.set_id("amended"); };
  EXPECT_THAT(
      rest::Serve({To::kInfer, "m"}, {post, limits, 1, heavy_.steps, {}, amend}, client_, times_)
          .body,
      HasSubstr(R"("id":"amended")"));
}

TEST_F(BridgeTest, ReadinessIsTold) {
  EXPECT_EQ(Serve({To::kReady}, Make("GET")).body, R"({"ready":true})");
  EXPECT_EQ(Serve({To::kModelReady, "m"}, Make("GET")).body, R"({"name":"m","ready":true})");
  const fcgi::Response other = Serve({To::kModelReady, "other", "3"}, Make("GET"));
  EXPECT_EQ(other.status, 400);
  EXPECT_EQ(other.body, R"({"error":"model other version 3 is not ready"})");
}

TEST_F(BridgeTest, OtherMethodsAre405) {
  for (const auto& [to, method, allowed] : {std::tuple(To::kInfer, "GET", "POST"),
                                            {To::kIndex, "PUT", "GET, HEAD, POST"},
                                            {To::kLive, "POST", "GET, HEAD"},
                                            {To::kModelConfig, "DELETE", "GET, HEAD"}}) {
    const fcgi::Response response = Serve({to, "m"}, Make(method));
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(Header(response, "Allow"), allowed);
  }
  EXPECT_EQ(Serve({To::kLive}, Make("HEAD")).status, 200);
  EXPECT_EQ(Serve({To::kAdministrators}, Make("POST")).status, 403);
  EXPECT_EQ(Serve({}, Make("POST")).status, 404);
}

TEST_F(BridgeTest, AnErrorsTextIsBounded) {
  EXPECT_LT(Error(400, std::string(1'000'000, 'x')).body.size(), 1'100U);
  EXPECT_EQ(Error(400, "\xff\"").body, R"({"error":"\ufffd\""})");
}

// A large body, in which nothing can be read.
std::string LargeJson(const std::string& datatype) {
  return R"({"inputs":[{"name":"x","datatype":")" + datatype + R"(","shape":[2],"data":[)" +
         std::string(std::size_t{3} << 20, '!') + "]}]}";
}

TEST_F(BridgeTest, TheServerIsAskedBeforeALargeBodyIsRead) {
  test::FakeModel model;
  model.metadata.set_name("m");
  test::AddTensor(*model.metadata.add_inputs(), "x", "FP32", {2});
  server_.Set("m", model);
  EXPECT_EQ(Serve({To::kInfer, "nosuch"}, Make("POST", LargeJson("FP32"))).status, 404);
  const fcgi::Response other = Serve({To::kInfer, "m"}, Make("POST", LargeJson("INT64")));
  EXPECT_EQ(other.status, 400);
  EXPECT_THAT(other.body, HasSubstr("model m takes FP32"));
  EXPECT_THAT(Infer(LargeJson("FP32")).body, HasSubstr("element 0"));
  EXPECT_EQ(heavy_.board.Sum(Clock::now()).heavy_bytes, 0U);
}

TEST_F(BridgeTest, ALargeBodyThatFindsNoTurnIsA503) {
  HeavySteps other(heavy_.work, heavy_.board.lanes(0)[1], 2);
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

}  // namespace
}  // namespace inferpool::rest
