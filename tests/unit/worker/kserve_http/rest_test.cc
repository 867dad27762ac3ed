#include "worker/kserve_http/rest.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/worker/api_fixture.h"

namespace inferpool::api {
namespace {

using To = rest::Route::To;

TEST(RestTest, PathsOfTheProtocol) {
  for (const char* path : {"/v2", "/v2/", "/v2/x", "/v2/models/a"}) {
    EXPECT_TRUE(IsRest(path)) << path;
  }
  for (const char* path : {"", "/", "/v1", "/v22", "/v2x/models", "v2", "/V2"}) {
    EXPECT_FALSE(IsRest(path)) << path;
  }
}

TEST(RestTest, EachPathHasItsRoute) {
  struct Case {
    const char* path;
    To to;
    const char* model = "";
    const char* version = "";
  };
  for (const Case& expected : {
           Case{"/v2", To::kServerMetadata},
           {"/v2/health/live", To::kLive},
           {"/v2/health/ready", To::kReady},
           {"/v2/repository/index", To::kIndex},
           {"/v2/models/stats", To::kStatistics},
           {"/v2/models/m", To::kModelMetadata, "m"},
           {"/v2/models/m/versions/3", To::kModelMetadata, "m", "3"},
           {"/v2/models/m/ready", To::kModelReady, "m"},
           {"/v2/models/m/versions/12/ready", To::kModelReady, "m", "12"},
           {"/v2/models/m/config", To::kModelConfig, "m"},
           {"/v2/models/m/stats", To::kStatistics, "m"},
           {"/v2/models/m/versions/1/stats", To::kStatistics, "m", "1"},
           {"/v2/models/m/infer", To::kInfer, "m"},
           {"/v2/models/m/versions/1/infer", To::kInfer, "m", "1"},
           {"/v2/models/a%2eb/infer", To::kInfer, "a.b"},
           {"/v2/models/infer/infer", To::kInfer, "infer"},
           {"/v2/models/versions", To::kModelMetadata, "versions"},
           {"/v2/models/stats/stats", To::kStatistics, "stats"},
           {"/v2/repository/models/m/load", To::kAdministrators},
           {"/v2/repository/models/m/unload", To::kAdministrators},
           {"/v2/systemsharedmemory/status", To::kAdministrators},
           {"/v2/cudasharedmemory/region/r/register", To::kAdministrators},
           {"/v2/trace/setting", To::kAdministrators},
           {"/v2/models/m/trace/setting", To::kAdministrators},
           {"/v2/logging", To::kAdministrators},
       }) {
    const rest::Route route = RestRoute(expected.path);
    EXPECT_EQ(route.to, expected.to) << expected.path;
    EXPECT_EQ(route.model, expected.model) << expected.path;
    EXPECT_EQ(route.version, expected.version) << expected.path;
  }
}

TEST(RestTest, OtherPathsLeadNowhere) {
  for (const std::string path : {"/v2/",
                                 "/v2//",
                                 "/v2/health",
                                 "/v2/health/",
                                 "/v2/health/live/",
                                 "/v2/models",
                                 "/v2/models/",
                                 "/v2/models//infer",
                                 "/v2/models/m/",
                                 "/v2/models/m//infer",
                                 "/v2/models/m/infer/",
                                 "/v2/models/m/infer/x",
                                 "/v2/models/m/generate",
                                 "/v2/models/m/versions",
                                 "/v2/models/m/versions/",
                                 "/v2/models/m/versions//infer",
                                 "/v2/models/m/versions/x",
                                 "/v2/models/m/versions/-1",
                                 "/v2/models/m/versions/1/",
                                 "/v2/models/m/versions/1234567890123456789",
                                 "/v2/models/m/versions/1/versions/1",
                                 "/v2/models/a%2fb/infer",
                                 "/v2/models/%00/infer",
                                 "/v2/models/%ff/infer",
                                 "/v2/models/a%20b",
                                 "/v2/repository",
                                 "/v2/repository/index/"}) {
    EXPECT_EQ(RestRoute(path).to, To::kNowhere) << path;
  }
  EXPECT_EQ(RestRoute("/v2/models/" + std::string(129, 'm')).to, To::kNowhere);
  EXPECT_EQ(RestRoute("/v2" + std::string(100'000, '/')).to, To::kNowhere);
}

class RestWithServerTest : public test::ApiWithServerTest {
 protected:
  RestWithServerTest() {
    test::FakeModel model;
    model.config.mutable_dynamic_batching()->set_priority_levels(5);
    model.config.mutable_dynamic_batching()->set_default_priority_level(3);
    model.infer = [this](const inference::ModelInferRequest& request, auto*) {
      const auto found = request.parameters().find("priority");
      level_ = found == request.parameters().end() ? 0 : found->second.int64_param();
      return grpc::Status::OK;
    };
    server_.Set("urgent", model);
    server_.Set("plain", test::FakeModel{});
  }

  fcgi::Response Serve(const fcgi::Request& request, Priority priority = Priority::kNormal) {
    HeavySteps heavy(heavy_, lane(), 1);
    Exchange exchange{request,
                      lane(),
                      heavy,
                      "id",
                      {.deadline = Deadline::After(std::chrono::seconds(20)), .priority = priority},
                      {},
                      holder_};
    return ServeRest(exchange, {config_, client_with_, inference_with_, catalog_with_, quarantine(),
                                heavy_, spare_threads_});
  }
  // The level that the model server was told; 0: none.
  std::int64_t LevelAt(const std::string& named, Priority priority = Priority::kNormal,
                       const std::string& model = "urgent") {
    level_ = -1;
    const std::string parameters = named.empty() ? "" : R"("priority":)" + named;
    const std::string body = R"({"inputs":[],"parameters":{)" + parameters + "}}";
    EXPECT_EQ(Serve(Make("POST", "/v2/models/" + model + "/infer", body), priority).status, 200);
    return level_;
  }
  void UseKey(Priority priority, std::vector<std::string> models = {"*"}) {
    const auto holder = std::make_shared<KeyHolder>();
    holder->key.priority = priority;
    holder->key.models = std::move(models);
    holder_ = holder;
  }

  std::shared_ptr<const KeyHolder> holder_;
  std::atomic<std::int64_t> level_ = -1;
};

TEST_F(RestWithServerTest, ThePriorityIsAskedForInEitherWay) {
  EXPECT_EQ(LevelAt(""), 0);
  EXPECT_EQ(server_.metadata_calls, 0);
  EXPECT_EQ(LevelAt("2"), 2);
  EXPECT_EQ(server_.metadata_calls, 0);
  EXPECT_EQ(LevelAt("", Priority::kHigh), 1);
  EXPECT_EQ(LevelAt("", Priority::kLow), 5);
}

TEST_F(RestWithServerTest, AKeyBoundsThePriority) {
  UseKey(Priority::kNormal);
  EXPECT_EQ(LevelAt(""), 0);
  EXPECT_EQ(LevelAt("1"), 3);
  EXPECT_EQ(LevelAt("18446744073709551615"), -1);  // as the model server will say
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

TEST_F(RestWithServerTest, TheIndexHasWhatTheKeyMayUse) {
  const fcgi::Request request = Make("GET", "/v2/repository/index");
  EXPECT_NE(Serve(request).body.find("odd"), std::string::npos);
  UseKey(Priority::kNormal, {"face*"});
  EXPECT_EQ(Serve(request).body, R"([{"name":"faces","version":"1","state":"READY"}])");
}

TEST_F(RestWithServerTest, WhatCrashedAWorkerIsNotTriedAgain) {
  const std::string body = R"({"inputs":[]})";
  const fcgi::Request request = Make("POST", "/v2/models/urgent/infer", body);
  EXPECT_EQ(Serve(request).status, 200);
  EXPECT_EQ(lane().task.Load()->digest, quarantine().DigestOf(body));
  quarantine().Enter({.digest = quarantine().DigestOf(body),
                      .model = ModelName("urgent"),
                      .request_id = RequestName("before"),
                      .until_ns = ToNs(Clock::now() + std::chrono::hours(1))});
  EXPECT_EQ(Serve(request).status, 422);
}

}  // namespace
}  // namespace inferpool::api
