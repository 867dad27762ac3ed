#include "worker/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <regex>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "tests/unit/worker/router_fixture.h"
#include "worker/http/request_id.h"

namespace inferpool::worker {
namespace {

using http::RequestId;
using std::chrono::microseconds;
using test::ParseJson;

class RouterTest : public test::RouterTest {};
class RouterWithServerTest : public test::RouterWithServerTest {};

TEST_F(RouterTest, AnUnknownRouteIs404) {
  for (const char* path :
       {"", "/", "/v1", "/v1/", "/v1/predict", "/v1/predict/", "/predict/", "/v1/predict/a/b",
        "/v1/models/", "/v1/models/a/b", "/V1/models", "/v1/models/../models", "//v1/models",
        "/predictfaces", "/v1/model", "/v1/modelsx"}) {
    for (const char* method : {"GET", "POST"}) {
      EXPECT_TRUE(IsProblem(Handle(method, path), 404, "unknown-route")) << method << " " << path;
    }
  }
}

TEST_F(RouterTest, AnotherMethodIs405WithTheAllowedOnes) {
  for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "", "post"}) {
    for (const char* path : {"/v1/predict/faces", "/predict/faces", "/v1/analyze"}) {
      const fcgi::Response response = Handle(method, path);
      EXPECT_TRUE(IsProblem(response, 405, "method-not-allowed")) << method << " " << path;
      EXPECT_EQ(Header(response, "Allow"), "POST");
    }
  }
  for (const char* method : {"POST", "PUT", "DELETE", ""}) {
    for (const char* path : {"/v1/models", "/v1/models/faces"}) {
      const fcgi::Response response = Handle(method, path);
      EXPECT_TRUE(IsProblem(response, 405, "method-not-allowed")) << method << " " << path;
      EXPECT_EQ(Header(response, "Allow"), "GET, HEAD");
    }
  }
}

TEST_F(RouterTest, WithoutStreamsNoCameraIsThere) {
  for (const char* path : {"/v1/cameras", "/v1/cameras/door", "/v1/cameras/door/latest",
                           "/v1/cameras/door/snapshot.jpg", "/v1/cameras/door/events"}) {
    EXPECT_TRUE(IsProblem(Handle("GET", path), 404, "unknown-route")) << path;
    for (const char* method : {"POST", "QUERY", "DELETE"}) {
      const fcgi::Response response = Handle(method, path);
      EXPECT_TRUE(IsProblem(response, 405, "method-not-allowed")) << method << " " << path;
      EXPECT_EQ(Header(response, "Allow"), "GET, HEAD");
    }
  }
  for (const char* path : {"/v1/cameras/", "/v1/cameras//latest", "/v1/cameras/a/b"}) {
    EXPECT_TRUE(IsProblem(Handle("POST", path), 404, "unknown-route")) << path;
  }
}

TEST_F(RouterTest, TheBodysStatusHasItsHttpStatus) {
  for (const auto& [status, code, type] :
       {std::tuple(absl::FailedPreconditionError("no length"), 411, "length-required"),
        {absl::OutOfRangeError("too long"), 413, "body-too-large"},
        {absl::InvalidArgumentError("no number"), 400, "bad-request"},
        {absl::DataLossError("cut off"), 400, "bad-request"}}) {
    fcgi::Request request = Make("POST", "/v1/predict/faces");
    request.body_status = status;
    EXPECT_TRUE(IsProblem(Handle(request), code, type)) << status;
  }
}

TEST_F(RouterTest, ABodyIsOfNoInterestToAGet) {
  fcgi::Request request = Make("GET", "/nowhere");
  request.body_status = absl::FailedPreconditionError("no length");
  EXPECT_TRUE(IsProblem(Handle(request), 404, "unknown-route"));
  request.path = "/v1/models";
  EXPECT_TRUE(IsProblem(Handle(request), 503, "model-server-away"));
}

TEST_F(RouterTest, NoImageIs400) {
  EXPECT_TRUE(IsProblem(Handle("POST", "/v1/predict/faces", ""), 400, "bad-request"));
  fcgi::Request request = Make("POST", "/v1/predict/faces", "--B--\r\n");
  request.content_type = "multipart/form-data; boundary=B";
  EXPECT_TRUE(IsProblem(Handle(request), 400, "bad-request"));
  request.content_type = "multipart/form-data";
  EXPECT_TRUE(IsProblem(Handle(request), 400, "bad-request"));
  const std::string empty_field =
      "--B\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n\r\n--B--\r\n";
  request.content_type = "multipart/form-data; boundary=B";
  request.body = empty_field;
  EXPECT_TRUE(IsProblem(Handle(request), 400, "bad-request"));
}

TEST_F(RouterTest, ABadParameterIs400AndNamed) {
  fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
  for (const auto& [query, parameter] : {std::pair("confidence=2", "confidence"),
                                         {"iou=x", "iou"},
                                         {"max_detections=0", "max_detections"},
                                         {"coordinates=miles", "coordinates"},
                                         {"colour=red", "colour"}}) {
    request.query = query;
    const fcgi::Response response = Handle(request);
    EXPECT_TRUE(IsProblem(response, 400, "bad-parameter")) << query;
    EXPECT_EQ(ParseJson(response.body)["parameter"], parameter);
  }
}

TEST_F(RouterTest, MaxDetectionsIsBoundedByTheConfiguration) {
  config_.predict.max_detections = 10;
  fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
  request.query = "max_detections=11";
  EXPECT_TRUE(IsProblem(Handle(request), 400, "bad-parameter"));
  request.query = "max_detections=10";
  EXPECT_TRUE(IsProblem(Handle(request), 503, "model-server-away"));
}

TEST_F(RouterTest, AContentTypeThatIsNoPicturesIs415) {
  for (const char* type : {"text/plain", "application/ld+json", "application/x-www-form-urlencoded",
                           "multipart/mixed; boundary=B", "nonsense"}) {
    fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
    request.content_type = type;
    const fcgi::Response response = Handle(request);
    EXPECT_TRUE(IsProblem(response, 415, "unsupported-media")) << type;
    EXPECT_NE(ParseJson(response.body)["detail"].asString().find("image/png"), std::string::npos);
  }
}

TEST_F(RouterTest, ABodyThatIsNoPictureIs415) {
  for (const std::string_view body : {"hello", "BM......................", "%PDF-1.4", "{}"}) {
    EXPECT_TRUE(IsProblem(Handle("POST", "/v1/predict/faces", body), 415, "unsupported-media"))
        << body;
  }
}

TEST_F(RouterTest, ADamagedPictureIs422) {
  EXPECT_TRUE(
      IsProblem(Handle("POST", "/v1/predict/faces", std::string_view(picture_).substr(0, 20)), 422,
                "bad-picture"));
}

TEST_F(RouterTest, APictureWithTooManyPixelsIs422) {
  config_.limits.pixels = 100;
  const fcgi::Response response = Handle("POST", "/v1/predict/faces", picture_);
  EXPECT_TRUE(IsProblem(response, 422, "bad-picture"));
  EXPECT_NE(response.body.find("100"), std::string::npos) << "what is allowed";
}

TEST_F(RouterTest, APictureIsTakenInEveryWayThatIsDocumentedAndThenTheServerIsAway) {
  for (const char* type : {"", "image/jpeg", "image/png", "image/webp", "Image/JPEG; q=1",
                           "application/octet-stream"}) {
    fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
    request.content_type = type;
    EXPECT_TRUE(IsProblem(Handle(request), 503, "model-server-away")) << type;
  }
  const std::string form =
      "--B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n"
      "Content-Type: image/jpeg\r\n\r\n" +
      picture_ + "\r\n--B--\r\n";
  fcgi::Request request = Make("POST", "/predict/faces", form);
  request.content_type = "multipart/form-data; boundary=B";
  EXPECT_TRUE(IsProblem(Handle(request), 503, "model-server-away"));
}

TEST_F(RouterTest, WhenTheServerIsAwayTheClientIsToldWhenToTryAgain) {
  for (const auto& [method, path] : {std::pair("POST", "/v1/predict/faces"),
                                     {"GET", "/v1/models"},
                                     {"HEAD", "/v1/models"},
                                     {"GET", "/v1/models/faces"}}) {
    const TimePoint start = Clock::now();
    const fcgi::Response response = Handle(method, path, picture_);
    EXPECT_TRUE(IsProblem(response, 503, "model-server-away")) << method << " " << path;
    EXPECT_TRUE(std::regex_match(Header(response, "Retry-After"), std::regex("[1-9][0-9]*")));
    EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(1'500));
  }
}

TEST_F(RouterTest, AModelNameThatCannotBeOneIs404WithoutAskingTheServer) {
  for (const std::string& name :
       {std::string("a%0Ab"), std::string("%00"), std::string("a%2F..%2Fb"), std::string("caf%C3"),
        std::string("%0D%0A"), std::string("%7f"), std::string("%2Fa"), std::string("a%2F%2Fb"),
        std::string(256, 'x'), std::string("%FF")}) {
    EXPECT_TRUE(IsProblem(Handle("POST", "/v1/predict/" + name, picture_), 404, "unknown-model"))
        << name;
    EXPECT_TRUE(IsProblem(Handle("GET", "/v1/models/" + name), 404, "unknown-model")) << name;
  }
}

TEST_F(RouterTest, AModelNameMayHaveEveryPrintableCharacter) {
  for (const std::string& name :
       {std::string("faces"), std::string("yolo11n.v2-int8_a"), std::string("%66aces"),
        std::string("two%20words"), std::string("caf%C3%A9"), std::string("team%2Fnet"),
        std::string(255, 'x')}) {
    EXPECT_TRUE(IsProblem(Handle("GET", "/v1/models/" + name), 503, "model-server-away")) << name;
  }
}

// '+' is a blank in a query, and itself in a path (RFC 3986).
TEST_F(RouterTest, APlusInAPathIsAPlus) {
  EXPECT_TRUE(IsProblem(Handle("GET", "/v1/models/c++"), 503, "model-server-away"));
}

TEST_F(RouterTest, EveryAnswerHasItsHeaders) {
  for (const auto& [method, path] : {std::pair("GET", "/nowhere"),
                                     {"PUT", "/v1/models"},
                                     {"POST", "/v1/predict/faces"},
                                     {"GET", "/v1/models"}}) {
    fcgi::Request request = Make(method, path);
    request.queue = microseconds(1'500);
    request.read = microseconds(250);
    request.accepted -= std::chrono::milliseconds(20);
    const fcgi::Response response = Handle(request);
    const std::string id = Header(response, "X-Request-ID");
    EXPECT_EQ(RequestId(id), id) << "not sane: " << id;
    const std::string time = Header(response, "X-Process-Time");
    EXPECT_TRUE(std::regex_match(time, std::regex(R"([0-9]+\.[0-9]{2}ms)"))) << time;
    EXPECT_GE(std::stod(time), 20);
    const std::string timing = Header(response, "Server-Timing");
    EXPECT_NE(timing.find("queue;dur=1.500"), std::string::npos) << timing;
    EXPECT_NE(timing.find("read;dur=0.250"), std::string::npos) << timing;
    EXPECT_NE(timing.find("total;dur="), std::string::npos) << timing;
    EXPECT_NE(Header(response, "Content-Type"), "(none)");
  }
}

TEST_F(RouterTest, ASaneRequestIdIsKeptAndAnotherReplaced) {
  fcgi::Request request = Make("GET", "/nowhere");
  request.headers = {{"x-request-id", "Client-1.2_3"}};
  fcgi::Response response = Handle(request);
  EXPECT_EQ(Header(response, "X-Request-ID"), "Client-1.2_3");
  EXPECT_EQ(ParseJson(response.body)["request_id"], "Client-1.2_3");
  request.headers = {{"x-request-id", "evil\r\nSet-Cookie: a=b"}};
  response = Handle(request);
  EXPECT_EQ(Header(response, "X-Request-ID").find("evil"), std::string::npos);
  EXPECT_EQ(response.body.find("evil"), std::string::npos);
}

TEST_F(RouterTest, NoHeaderHasALineBreakWhateverTheRequestHolds) {
  fcgi::Request request = Make("GE\r\nX: y", "/\r\nX: y\"");
  request.query = "a\r\nX: y";
  request.content_type = "text/\r\nX: y";
  request.headers = {{"x-request-id", "a\r\nX: y"}};
  for (const char* path : {"/\r\nX: y\"", "/v1/models", "/v1/predict/faces", "/v1/models/\r\nX"}) {
    request.path = path;
    const fcgi::Response response = Handle(request);
    ParseJson(response.body);
    for (const auto& [name, value] : response.headers) {
      EXPECT_EQ((name + value).find_first_of("\r\n"), std::string::npos) << name << ": " << value;
    }
  }
}

TEST_F(RouterTest, EveryAnswerIsCountedInTheThreadSlot) {
  const auto count = [this](int status) {
    const std::size_t at = HttpStatusIndex(status);
    return board_.Sum(Clock::now()).by_status[static_cast<std::size_t>(at)];
  };
  const std::string_view body = "hello";
  const std::size_t bytes_out = Handle("POST", "/v1/predict/faces", body).body.size();
  EXPECT_EQ(count(415), 1U);
  EXPECT_EQ(board_.Sum(Clock::now()).bytes_in, body.size());
  EXPECT_EQ(board_.Sum(Clock::now()).bytes_out, bytes_out);
  Handle("GET", "/nowhere");
  Handle("GET", "/nowhere");
  Handle("PUT", "/v1/models");
  Handle("GET", "/v1/models");
  EXPECT_EQ(count(404), 2U);
  EXPECT_EQ(count(405), 1U);
  EXPECT_EQ(count(503), 1U);
  const auto samples = [this](Stage stage) {
    const Totals totals = board_.Sum(Clock::now());
    const auto& buckets = totals.stages[static_cast<std::size_t>(stage)].buckets;
    return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0});
  };
  EXPECT_EQ(samples(Stage::kTotal), 5U);
  EXPECT_EQ(samples(Stage::kRead), 5U);
  EXPECT_EQ(samples(Stage::kDecode), 0U) << "none was reached";
}

TEST_F(RouterWithServerTest, APredictionIs200WithItsHeadersAndTimes) {
  const fcgi::Response response = Ask(Make("POST", "/v1/predict/faces", picture_));
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(Header(response, "Content-Type"), "application/json");
  const Json::Value json = ParseJson(response.body);
  EXPECT_EQ(json["model"]["name"], "faces");
  EXPECT_TRUE(json["detections"].isArray());
  EXPECT_EQ(json["request_id"], Header(response, "X-Request-ID"));
  EXPECT_GT(json["timing_ms"]["total"].asDouble(), 0);
  EXPECT_GE(json["timing_ms"]["total"].asDouble(), json["timing_ms"]["infer"].asDouble());
  EXPECT_NE(Header(response, "Server-Timing").find("infer;dur="), std::string::npos);
  EXPECT_EQ(board_.Sum(Clock::now()).by_status[0], 1U);
}

TEST_F(RouterWithServerTest, TheModelsAreListedAndDescribed) {
  const fcgi::Response list = Ask(Make("GET", "/v1/models"));
  ASSERT_EQ(list.status, 200);
  const Json::Value json = ParseJson(list.body);
  ASSERT_EQ(json["models"].size(), 2U) << "the one that went is left out";
  EXPECT_EQ(json["models"][0]["family"], "end_to_end");
  EXPECT_TRUE(json["models"][1]["family"].isNull());
  const fcgi::Response one = Ask(Make("GET", "/v1/models/faces"));
  ASSERT_EQ(one.status, 200);
  EXPECT_EQ(ParseJson(one.body), json["models"][0]);
  EXPECT_TRUE(IsProblem(Ask(Make("GET", "/v1/models/none")), 404, "unknown-model"));
  EXPECT_TRUE(IsProblem(Ask(Make("POST", "/v1/predict/none", picture_)), 404, "unknown-model"));
  EXPECT_TRUE(IsProblem(Ask(Make("POST", "/v1/predict/odd", picture_)), 501, "unusable-model"));
}

TEST_F(RouterWithServerTest, ARequestWhoseTimeIsOverIsNotWorkedOn) {
  config_.timeouts.request_s = 1;
  fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
  ASSERT_EQ(Ask(request).status, 200);
  const int before = server_.infer_calls;
  request.accepted -= std::chrono::seconds(5);
  const TimePoint start = Clock::now();
  const fcgi::Response response = Ask(request);
  EXPECT_TRUE(response.status == 503 || response.status == 504) << response.status;
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(900));
  EXPECT_EQ(server_.infer_calls, before);
}

TEST_F(RouterWithServerTest, AModelThatIsTooSlowIs504) {
  config_.timeouts.request_s = 1;
  ASSERT_EQ(Ask(Make("POST", "/v1/predict/faces", picture_)).status, 200);
  server_.SetDelay(std::chrono::seconds(5));
  fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
  request.accepted -= std::chrono::milliseconds(700);
  EXPECT_TRUE(IsProblem(Ask(request), 504, "model-too-slow"));
}

TEST_F(RouterTest, ARequestThatWaitedTooLongIs503WhateverItAskedFor) {
  for (const char* path : {"/v1/predict/faces", "/v1/models", "/nowhere"}) {
    fcgi::Request request = Make("POST", path);
    request.body_status = absl::ResourceExhaustedError("waited 5000 ms, allowed are 1000");
    const fcgi::Response response = Handle(request);
    EXPECT_TRUE(IsProblem(response, 503, "overloaded")) << path;
    EXPECT_NE(Header(response, "Retry-After"), "(none)");
  }
}

TEST_F(RouterWithServerTest, AQuarantinedPictureIs422AndNotTouched) {
  quarantine().Enter({.digest = quarantine().DigestOf(picture_),
                      .model = ModelName("faces"),
                      .request_id = {},
                      .until_ns = ToNs(Clock::now() + std::chrono::hours(1))});
  EXPECT_TRUE(IsProblem(Ask(Make("POST", "/v1/predict/faces", picture_)), 422, "quarantined"));
  EXPECT_TRUE(IsProblem(Ask(Make("POST", "/predict/faces", picture_)), 422, "quarantined"));
  EXPECT_EQ(server_.infer_calls, 0);
  EXPECT_TRUE(IsProblem(Ask(Make("POST", "/v1/predict/odd", picture_)), 501, "unusable-model"))
      << "another model may take it";
  quarantine().Clear();
  EXPECT_EQ(Ask(Make("POST", "/v1/predict/faces", picture_)).status, 200);
}

// A form has another boundary every time; the picture in it is the same.
TEST_F(RouterWithServerTest, APictureIsQuarantinedHoweverItIsSent) {
  quarantine().Enter({.digest = quarantine().DigestOf(picture_),
                      .model = ModelName("faces"),
                      .request_id = {},
                      .until_ns = ToNs(Clock::now() + std::chrono::hours(1))});
  for (const std::string boundary : {"one", "another"}) {
    const std::string form = "--" + boundary +
                             "\r\nContent-Disposition: form-data; name=\"image\"; "
                             "filename=\"a.jpg\"\r\n\r\n" +
                             picture_ + "\r\n--" + boundary + "--\r\n";
    fcgi::Request request = Make("POST", "/v1/predict/faces", form);
    request.content_type = "multipart/form-data; boundary=" + boundary;
    EXPECT_TRUE(IsProblem(Ask(request), 422, "quarantined")) << boundary;
  }
}

TEST_F(RouterWithServerTest, TheThreadSlotSaysWhatIsInWorkForACrashToBlame) {
  fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
  request.headers = {{"x-request-id", "the-id"}};
  ASSERT_EQ(Ask(request).status, 200);
  const auto task = thread_slot().task.Load();
  ASSERT_TRUE(task);
  EXPECT_EQ(task->request_id.view(), "the-id");
  EXPECT_EQ(task->model.view(), "faces");
  EXPECT_EQ(task->digest, quarantine().DigestOf(picture_));
}

TEST_F(RouterWithServerTest, AClientThatHasLeftCosts499AndNoModel) {
  ASSERT_EQ(Ask(Make("POST", "/v1/predict/faces", picture_)).status, 200);
  const int before = server_.infer_calls;
  std::stop_source departed;
  departed.request_stop();
  fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
  request.departed = departed.get_token();
  EXPECT_TRUE(IsProblem(Ask(request), kClientLeft, "client-left"));
  EXPECT_EQ(server_.infer_calls, before);
  const std::size_t at = HttpStatusIndex(kClientLeft);
  EXPECT_EQ(thread_slot().by_status[static_cast<std::size_t>(at)].load(), 1U);
}

#ifdef INFERPOOL_FAULTS
TEST_F(RouterWithServerTest, AFaultOnDemandIsThePicturesOnly) {
  const auto time = [this](const std::string& picture) {
    const TimePoint start = Clock::now();
    Ask(Make("POST", "/v1/predict/faces", picture));
    return Clock::now() - start;
  };
  constexpr std::chrono::milliseconds kFault{300};
  EXPECT_GE(time(picture_ + "inferpool-fault:slow"), kFault);
  // A busy machine may make some as slow, but not all.
  bool quick = false;
  for (int i = 0; i < 30 && !quick; ++i) quick = time(picture_) < kFault;
  EXPECT_TRUE(quick);
}
#endif

}  // namespace
}  // namespace inferpool::worker
