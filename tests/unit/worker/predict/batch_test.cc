#include "worker/predict/batch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/worker/router_fixture.h"

namespace inferpool::predict {
namespace {

using test::ParseJson;

class BatchTest : public test::RouterWithServerTest {
 protected:
  // A batch of these pictures, in a form.
  fcgi::Request Batch(const std::vector<std::string>& pictures) {
    body_.clear();
    for (const std::string& picture : pictures) {
      body_ +=
          "--B\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.jpg\"\r\n\r\n" +
          picture + "\r\n";
    }
    body_ += "--B--\r\n";
    fcgi::Request request = Make("POST", "/v1/predict/faces/batch", body_);
    request.content_type = "multipart/form-data; boundary=B";
    return request;
  }

  std::string body_;
};

TEST_F(BatchTest, EveryPictureIsAnsweredOnItsOwn) {
  const fcgi::Response response =
      Ask(Batch({picture_, "hello", picture_, picture_.substr(0, 2'000), "", picture_}));
  ASSERT_EQ(response.status, 200) << response.body;
  const Json::Value json = ParseJson(response.body);
  EXPECT_EQ(json["model"]["name"], "faces");
  EXPECT_EQ(json["request_id"], Header(response, "X-Request-ID"));
  EXPECT_EQ(json["timing_ms"].size(), kStages);
  ASSERT_EQ(json["results"].size(), 6U);
  for (unsigned i = 0; i < 6; ++i) {
    const Json::Value& result = json["results"][i];
    EXPECT_EQ(result["index"].asUInt(), i);
    const bool good = i == 0 || i == 2 || i == 5;
    EXPECT_EQ(result["status"] == 200, good) << result;
    EXPECT_EQ(result.isMember("detections"), good);
    EXPECT_EQ(result.isMember("problem"), !good);
    if (good) {
      EXPECT_EQ(result["image"]["width"], 512);
      EXPECT_EQ(result["model"]["version"], json["results"][0]["model"]["version"]);
    } else {
      EXPECT_EQ(result["problem"]["status"], result["status"]);
      EXPECT_FALSE(result["problem"]["detail"].asString().empty());
    }
  }
  EXPECT_EQ(json["results"][1]["status"], 415);
  EXPECT_EQ(json["results"][3]["status"], 422);
  EXPECT_EQ(json["results"][4]["status"], 400);
  EXPECT_EQ(board_.Sum(Clock::now()).by_status[0], 1U) << "one request";
}

TEST_F(BatchTest, PicturesAreWorkedOnAtOnce) {
  ASSERT_EQ(Ask(Make("POST", "/v1/predict/faces", picture_)).status, 200);
  constexpr std::chrono::milliseconds kDelay{400};
  server_.SetDelay(kDelay);
  // The calling thread and two spare ones: in turn it would be three times as long.
  const TimePoint start = Clock::now();
  ASSERT_EQ(Ask(Batch({picture_, picture_, picture_})).status, 200);
  EXPECT_LT(Clock::now() - start, 2.5 * kDelay);
  EXPECT_EQ(spare_threads_.Take(100), 2) << "they were given back";
}

TEST_F(BatchTest, WithoutSpareThreadsItsOwnOneDoesItAll) {
  ASSERT_EQ(spare_threads_.Take(100), 2);
  const Json::Value json = ParseJson(Ask(Batch({picture_, picture_, picture_})).body);
  for (const Json::Value& result : json["results"]) EXPECT_EQ(result["status"], 200);
}

TEST_F(BatchTest, AQuarantinedPictureSpoilsNoOther) {
  const std::string poison = picture_ + "poison";
  quarantine().Enter({.digest = quarantine().DigestOf(poison),
                      .model = ModelName("faces"),
                      .request_id = {},
                      .until_ns = ToNs(Clock::now() + std::chrono::minutes(1))});
  const Json::Value json = ParseJson(Ask(Batch({picture_, poison})).body);
  EXPECT_EQ(json["results"][0]["status"], 200);
  EXPECT_EQ(json["results"][1]["status"], 422);
  EXPECT_EQ(json["results"][1]["problem"]["code"], "quarantined");
}

TEST_F(BatchTest, WhatIsWrongWithTheRequestIsItsAnswer) {
  fcgi::Request request = Batch({picture_});
  request.path = "/v1/predict/none/batch";
  EXPECT_TRUE(IsProblem(Ask(request), 404, "unknown-model"));
  request.path = "/predict/odd/batch";
  EXPECT_TRUE(IsProblem(Ask(request), 501, "unusable-model"));
  request.path = "/v1/predict/faces/batch";
  request.query = "iou=2";
  EXPECT_TRUE(IsProblem(Ask(request), 400, "bad-parameter"));
  request.query = "render=png";
  EXPECT_TRUE(IsProblem(Ask(request), 400, "bad-parameter"));
  request.query = "";
  request.method = "GET";
  EXPECT_TRUE(IsProblem(Ask(request), 405, "method-not-allowed"));
  config_.limits.batch_images = 1;
  EXPECT_TRUE(IsProblem(Ask(Batch({picture_, picture_})), 413, "too-many-images"));
  request = Batch({picture_});
  request.path = "/v1/predict//batch";
  EXPECT_TRUE(IsProblem(Ask(request), 404, "unknown-route"));
  request.path = "/v1/predict/a/b/batch";
  EXPECT_TRUE(IsProblem(Ask(request), 404, "unknown-route"));
}

TEST_F(BatchTest, APictureWhoseTimeIsOverIsNotDecoded) {
  ASSERT_EQ(Ask(Make("POST", "/v1/predict/faces", picture_)).status, 200);
  fcgi::Request request = Batch({picture_, picture_});
  request.accepted -= std::chrono::seconds(config_.timeouts.request_s + 1);
  const fcgi::Response response = Ask(request);
  ASSERT_EQ(response.status, 200) << response.body;
  for (const Json::Value& result : ParseJson(response.body)["results"]) {
    EXPECT_EQ(result["status"], 504) << result;
  }
  EXPECT_EQ(Header(response, "Server-Timing").find("decode"), std::string::npos);
}

TEST_F(BatchTest, AClientThatLeftEndsIt) {
  fcgi::Request request = Batch({picture_, picture_});
  std::stop_source client;
  client.request_stop();
  request.departed = client.get_token();
  EXPECT_EQ(Ask(request).status, 499);
}

class RenderTest : public test::RouterWithServerTest {
 protected:
  fcgi::Response Render(const std::string& query, const std::string& accept) {
    fcgi::Request request = Make("POST", "/v1/predict/faces", picture_);
    request.query = query;
    request.headers = {{"accept", accept}};
    return Ask(request);
  }
};

TEST_F(RenderTest, ThePictureIsTheAnswerWhereItIsAskedFor) {
  constexpr std::string_view kJpeg = "\xff\xd8\xff";
  constexpr std::string_view kPng = "\x89PNG";
  for (const auto& [query, accept, type, magic] :
       {std::tuple("render=jpeg", "", "image/jpeg", kJpeg),
        {"render=png", "application/json", "image/png", kPng},
        {"", "image/png", "image/png", kPng},
        {"", "image/*", "image/jpeg", kJpeg},
        {"render=json", "image/png", "application/json", std::string_view("{")},
        {"", "*/*", "application/json", std::string_view("{")}}) {
    const fcgi::Response response = Render(query, accept);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(Header(response, "Content-Type"), type) << query << " " << accept;
    EXPECT_TRUE(response.body.starts_with(magic)) << query << " " << accept;
  }
  EXPECT_TRUE(IsProblem(Render("render=gif", ""), 400, "bad-parameter"));
}

TEST_F(RenderTest, AProblemIsAProblemWhateverWasAskedFor) {
  fcgi::Request request = Make("POST", "/v1/predict/faces", "hello");
  request.headers = {{"accept", "image/png"}};
  EXPECT_TRUE(IsProblem(Ask(request), 415, "unsupported-media"));
}

}  // namespace
}  // namespace inferpool::predict
