#include "worker/http/problem.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::http {
namespace {

using test::ParseJson;

std::string Header(const fcgi::Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "(none)";
}

fcgi::Response Render(const Problem& problem, std::string_view request_id) {
  return http::Render(problem, ProblemForm::kProblemJson, request_id, "");
}

// One of each kind, with the code and status that it must have.
struct Kind {
  Problem problem;
  std::string code;
  int status;
};

std::vector<Kind> EveryKind() {
  return {
      {UnknownRoute("/nowhere"), "unknown-route", 404},
      {MethodNotAllowed("PUT", "POST"), "method-not-allowed", 405},
      {BadParameter("iou", "why"), "bad-parameter", 400},
      {BadRequest("why"), "bad-request", 400},
      {UnsupportedMedia("why"), "unsupported-media", 415},
      {UnsupportedCoding("why", "gzip"), "unsupported-media", 415},
      {Internal("why"), "internal", 500},
      {Overloaded("why"), "overloaded", 503},
      {Unauthorized("why"), "unauthorized", 401},
      {Forbidden("why"), "forbidden", 403},
      {TooManyRequests("why", 7), "too-many-requests", 429},
      {Quarantined(), "quarantined", 422},
      {ClientLeft(), "client-left", 499},
      {BodyProblem(absl::ResourceExhaustedError("why")), "overloaded", 503},
      {BodyProblem(absl::FailedPreconditionError("why")), "length-required", 411},
      {BodyProblem(absl::OutOfRangeError("why")), "body-too-large", 413},
      {BodyProblem(absl::InvalidArgumentError("why")), "bad-request", 400},
      {BodyProblem(absl::DataLossError("why")), "bad-request", 400},
      {BodyProblem(absl::UnimplementedError("why")), "unsupported-media", 415},
      {BodyProblem(absl::CancelledError("why")), "client-left", 499},
      {BodyProblem(absl::DeadlineExceededError("why")), "model-too-slow", 504},
      {HeavyProblem(absl::ResourceExhaustedError("why")), "overloaded", 503},
      {HeavyProblem(absl::CancelledError("why")), "client-left", 499},
      {PictureProblem(absl::UnimplementedError("why")), "unsupported-media", 415},
      {PictureProblem(absl::DataLossError("why")), "bad-picture", 422},
      {PictureProblem(absl::OutOfRangeError("why")), "bad-picture", 422},
      {BackendProblem(absl::NotFoundError("why"), "m"), "unknown-model", 404},
      {BackendProblem(absl::FailedPreconditionError("why"), "m"), "bad-model-answer", 502},
      {BackendProblem(absl::UnimplementedError("why"), "m"), "unusable-model", 501},
      {PlanProblem(absl::FailedPreconditionError("why"), "m"), "unusable-model", 501},
      {PlanProblem(absl::InternalError("why"), "m"), "bad-model-answer", 502},
      {BackendProblem(absl::InternalError("why"), "m"), "bad-model-answer", 502},
      {BackendProblem(absl::InvalidArgumentError("why"), "m"), "bad-model-answer", 502},
      {BackendProblem(absl::UnavailableError("why"), "m"), "model-server-away", 503},
      {BackendProblem(absl::CancelledError("why"), "m"), "client-left", 499},
      {BackendProblem(absl::DeadlineExceededError("why"), "m"), "model-too-slow", 504},
  };
}

TEST(ProblemTest, EachKindHasItsCodeAndStatus) {
  for (const Kind& kind : EveryKind()) {
    EXPECT_EQ(kind.problem.code, kind.code);
    EXPECT_EQ(kind.problem.status, kind.status) << kind.code;
    EXPECT_FALSE(kind.problem.detail.empty()) << kind.code;
  }
}

TEST(ProblemTest, EachKindIsRenderedAsTheStandardAsks) {
  for (const Kind& kind : EveryKind()) {
    SCOPED_TRACE(kind.code);
    const fcgi::Response response = Render(kind.problem, "the-id");
    EXPECT_EQ(response.status, kind.status);
    EXPECT_EQ(Header(response, "Content-Type"), "application/problem+json");
    const Json::Value json = ParseJson(response.body);
    EXPECT_EQ(json["code"], kind.code);
    EXPECT_EQ(json["type"], "/docs/errors#" + kind.code);
    EXPECT_EQ(json["status"], kind.status);
    EXPECT_EQ(json["title"].asString(), Title(kind.code));
    EXPECT_EQ(json["detail"].asString(), kind.problem.detail);
    EXPECT_EQ(json["request_id"], "the-id");
    EXPECT_EQ(Header(response, "Retry-After") != "(none)",
              kind.status == 503 || kind.status == 429);
    EXPECT_EQ(Header(response, "WWW-Authenticate"), kind.status == 401 ? "Bearer" : "(none)");
    EXPECT_EQ(Header(response, "Allow") != "(none)", kind.status == 405);
    EXPECT_EQ(json.isMember("parameter"), kind.code == "bad-parameter");
  }
}

TEST(ProblemTest, TheTypeLeadsToThePageBehindThePrefix) {
  const fcgi::Response response =
      http::Render(Quarantined(), ProblemForm::kProblemJson, "", "/vision/\"");
  const Json::Value json = ParseJson(response.body);
  EXPECT_EQ(json["type"], "/vision/\"/docs/errors#quarantined");
  EXPECT_EQ(json["code"], "quarantined");
}

TEST(ProblemTest, EveryCodeHasATitleOfItsOwn) {
  std::map<std::string, std::string_view> titles;
  std::set<std::string_view> seen;
  for (const Kind& kind : EveryKind()) titles[kind.code] = Title(kind.code);
  for (const auto& [code, title] : titles) {
    EXPECT_FALSE(title.empty()) << code;
    EXPECT_TRUE(seen.insert(title).second) << code;
  }
}

TEST(ProblemTest, TheDetailSaysWhatIsWrongAndWhatIsAllowed) {
  EXPECT_NE(UnknownRoute("/nowhere").detail.find("/nowhere"), std::string::npos);
  EXPECT_NE(UnknownRoute("/nowhere").detail.find("/v1/models"), std::string::npos);
  EXPECT_NE(MethodNotAllowed("PUT", "GET, HEAD").detail.find("PUT"), std::string::npos);
  EXPECT_EQ(Header(Render(MethodNotAllowed("PUT", "GET, HEAD"), ""), "Allow"), "GET, HEAD");
  EXPECT_NE(BackendProblem(absl::NotFoundError(""), "faces").detail.find("faces"),
            std::string::npos);
  EXPECT_EQ(PictureProblem(absl::DataLossError("cut off at byte 7")).detail, "cut off at byte 7");
  EXPECT_EQ(ParseJson(Render(BadParameter("iou", "d"), "").body)["parameter"], "iou");
}

TEST(ProblemTest, NoStatusOfTheModelServerIsOurFault) {
  for (int code = 1; code <= 16; ++code) {
    const Problem problem =
        BackendProblem(absl::Status(static_cast<absl::StatusCode>(code), "why"), "m");
    EXPECT_TRUE(problem.status == 404 || problem.status == 499 ||
                (problem.status >= 501 && problem.status <= 504))
        << code << " is " << problem.status;
  }
}

TEST(ProblemTest, HostileTextsStayText) {
  for (const std::string& text :
       {std::string("\"quoted\""), std::string("\\"), std::string("a\r\nSet-Cookie: x"),
        std::string("</script>"), std::string("{}{}{:d}"), std::string("\x01\x7f"),
        std::string("\xf0\x9f\x98\x80"), std::string("a\0b", 3)}) {
    const Json::Value json = ParseJson(Render(BadParameter(text, "detail " + text), text).body);
    EXPECT_EQ(json["detail"].asString(), "detail " + text);
    EXPECT_EQ(json["parameter"].asString(), text);
    EXPECT_EQ(json["request_id"].asString(), text);
  }
}

TEST(ProblemTest, WhatIsNoUtf8IsReplaced) {
  for (const char* text : {"\xff", "\x80", "\xc3(", "\xe2\x82", "\xed\xa0\x80", "\xc0\xaf"}) {
    const Json::Value json = ParseJson(Render(BadRequest(std::string("a") + text + "z"), "").body);
    EXPECT_EQ(json["detail"].asString().front(), 'a');
  }
}

TEST(ProblemTest, ClientsOfKserveFindTheDetailAsError) {
  const Problem problem = BadParameter("iou", "\"why\"");
  const Json::Value json =
      ParseJson(http::Render(problem, ProblemForm::kKserve, "the-id", "").body);
  EXPECT_EQ(json["error"], "\"why\"");
  Json::Value rest = json;
  rest.removeMember("error");
  EXPECT_EQ(rest, ParseJson(Render(problem, "the-id").body));
}

TEST(ProblemTest, AnErrorOfTheProtocolIsItsTextOnly) {
  for (const ProblemForm form : {ProblemForm::kKserve, ProblemForm::kProblemJson}) {
    const fcgi::Response response = http::Render(ProtocolError(503, "\xff\""), form, "the-id", "");
    EXPECT_EQ(response.status, 503);
    EXPECT_EQ(response.body, R"({"error":"\ufffd\""})");
    EXPECT_EQ(Header(response, "Content-Type"), "application/json");
    EXPECT_EQ(Header(response, "Retry-After"), "1");
  }
  const fcgi::Response response =
      http::Render(ProtocolError(MethodNotAllowed("PUT", "POST")), ProblemForm::kKserve, "", "");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(Header(response, "Allow"), "POST");
  EXPECT_EQ(response.body, R"({"error":"PUT is not allowed here, POST is"})");
}

TEST(ProblemTest, TheTextOfAProtocolErrorIsBounded) {
  EXPECT_EQ(ProtocolError(400, std::string(1'000'000, 'x')).detail, std::string(1'000, 'x'));
  EXPECT_EQ(ProtocolError(BadRequest(std::string(1'000'000, 'x'))).detail.size(), 1'000U);
}

}  // namespace
}  // namespace inferpool::http
