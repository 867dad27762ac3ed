#include "worker/http/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "shared/base/check.h"
#include "shared/base/http_status.h"
#include "shared/base/json_text.h"
#include "shared/base/utf8.h"
#include "worker/backend/rpc/grpc_status.h"

namespace inferpool::http {
namespace {

struct Kind {
  std::string_view code;
  int status;
  std::string_view title;
};

// Every code of a worker's problems with its status and title: rows of the table in docs/errors.md,
// which has those of nginx as well.
constexpr std::array kKinds = {
    Kind{"bad-request", 400, "The request is malformed"},
    Kind{"bad-parameter", 400, "A parameter is not allowed"},
    Kind{"unauthorized", 401, "There is no valid API key"},
    Kind{"forbidden", 403, "This is not for you"},
    Kind{"unknown-route", 404, "There is nothing at this address"},
    Kind{"unknown-model", 404, "There is no such model"},
    Kind{"unknown-camera", 404, "There is no such camera"},
    Kind{"nothing-yet", 404, "There is nothing of this camera yet"},
    Kind{"method-not-allowed", 405, "The method is not allowed here"},
    Kind{"not-acceptable", 406, "There is no such form of the answer"},
    Kind{"length-required", 411, "The request names no length"},
    Kind{"body-too-large", 413, "The body is too large"},
    Kind{"too-many-images", 413, "The batch has too many pictures"},
    Kind{"unsupported-media", 415, "This is not a picture that can be decoded"},
    Kind{"bad-picture", 422, "The picture cannot be used"},
    Kind{"quarantined", 422, "This input crashed a worker"},
    Kind{"too-many-requests", 429, "Too many requests"},
    Kind{"client-left", 499, "The client left"},
    Kind{"internal", 500, "The worker failed"},
    Kind{"unusable-model", 501, "The model cannot be used for prediction"},
    Kind{"bad-model-answer", 502, "The model server answered with an error"},
    Kind{"model-server-away", 503, "The model server is away"},
    Kind{"streams-away", 503, "Redis is away"},
    Kind{"overloaded", 503, "There are more requests than can be answered"},
    Kind{"model-too-slow", 504, "The model did not answer in time"},
};

// A status that is not in the table would be counted, and named, as another one.
constexpr bool IsKnown(int status) {
  return kHttpStatuses[HttpStatusIndex(status)].code == status;
}
static_assert(std::ranges::all_of(kKinds, IsKnown, &Kind::status));

const Kind& Find(std::string_view code) {
  for (const Kind& kind : kKinds) {
    if (kind.code == code) return kind;
  }
  return Find("internal");
}

Problem Make(std::string_view code, std::string detail) {
  const Kind& kind = Find(code);
  return {kind.status, kind.code, std::move(detail), "", ""};
}

}  // namespace

bool IsModelAway(const Problem& problem) {
  return problem.code == "model-server-away";
}

std::string_view Title(std::string_view code) {
  return Find(code).title;
}

Problem UnknownRoute(std::string_view path) {
  return Make(
      "unknown-route",
      fmt::format("no route {}; there are POST /v1/predict/MODEL and /v1/predict/MODEL/batch, "
                  "GET /v1/models and /v1/models/MODEL, and /v2",
                  path));
}

Problem MethodNotAllowed(std::string_view method, std::string_view allow) {
  Problem problem =
      Make("method-not-allowed", fmt::format("{} is not allowed here, {} is", method, allow));
  problem.allow = allow;
  return problem;
}

Problem BadParameter(std::string parameter, std::string detail) {
  Problem problem = Make("bad-parameter", std::move(detail));
  problem.parameter = std::move(parameter);
  return problem;
}

Problem BadRequest(std::string detail) {
  return Make("bad-request", std::move(detail));
}

Problem NotAcceptable(std::string detail) {
  return Make("not-acceptable", std::move(detail));
}

Problem TooManyImages(std::size_t count, int max_images) {
  return Make("too-many-images",
              fmt::format("the batch has {} pictures, allowed are {}", count, max_images));
}

Problem UnsupportedMedia(std::string detail) {
  return Make("unsupported-media", std::move(detail));
}

Problem UnsupportedCoding(std::string detail, std::string_view accepted) {
  Problem problem = UnsupportedMedia(std::move(detail));
  problem.accept_encoding = accepted;
  return problem;
}

Problem Internal(std::string detail) {
  return Make("internal", std::move(detail));
}

Problem Overloaded(std::string detail) {
  return Make("overloaded", std::move(detail));
}

Problem Quarantined() {
  return Make("quarantined", "this input crashed a worker, so it is not tried again for a while");
}

Problem ClientLeft() {
  return Make("client-left", "the client left before it had its answer");
}

Problem Unauthorized(std::string detail) {
  return Make("unauthorized", std::move(detail));
}

Problem Forbidden(std::string detail) {
  return Make("forbidden", std::move(detail));
}

Problem TooManyRequests(std::string detail, int retry_after_s) {
  Problem problem = Make("too-many-requests", std::move(detail));
  problem.retry_after_s = retry_after_s;
  return problem;
}

Problem UnknownCamera(std::string_view camera) {
  return Make("unknown-camera",
              fmt::format("there is no camera {}; GET /v1/cameras lists them", camera));
}

Problem NothingYet(std::string detail) {
  return Make("nothing-yet", std::move(detail));
}

Problem StreamsAway() {
  return Make("streams-away", "Redis, where cameras' frames and answers are, is away; try again");
}

Problem BodyProblem(const absl::Status& status) {
  std::string detail(Message(status));
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return Make("length-required", std::move(detail));
    case absl::StatusCode::kOutOfRange:
      return Make("body-too-large", std::move(detail));
    case absl::StatusCode::kUnimplemented:
      return Make("unsupported-media", std::move(detail));
    case absl::StatusCode::kCancelled:
      return Make("client-left", std::move(detail));
    case absl::StatusCode::kResourceExhausted:
      return Make("overloaded", std::move(detail));
    case absl::StatusCode::kDeadlineExceeded:
      return Make("model-too-slow", std::move(detail));
    default:
      return Make("bad-request", std::move(detail));
  }
}

Problem PictureProblem(const absl::Status& status) {
  return Make(absl::IsUnimplemented(status) ? "unsupported-media" : "bad-picture",
              std::string(Message(status)));
}

Problem BackendProblem(const absl::Status& status, std::string_view model) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return Make(
          "unknown-model",
          fmt::format("the model server has no model {} ready; GET /v1/models lists them", model));
    case absl::StatusCode::kCancelled:
      return ClientLeft();
    case absl::StatusCode::kUnavailable:
      return Make("model-server-away", backend::IsNotSetUp(status)
                                           ? std::string(Message(status))
                                           : "the model server cannot be reached now; try again");
    case absl::StatusCode::kResourceExhausted:
      return Overloaded("the model server has too much to do; try again");
    case absl::StatusCode::kDeadlineExceeded:
      return Make("model-too-slow", "the model did not answer within the request's time");
    case absl::StatusCode::kUnimplemented:
      return Make("unusable-model",
                  fmt::format("the model server does not offer what the model {} needs ({}); where "
                              "it does not describe its models, set them under `models` in "
                              "inferpool's configuration",
                              model, Message(status)));
    default:  // FAILED_PRECONDITION too: to some servers it is another word for a bad request
      return Make("bad-model-answer", std::string(Message(status)));
  }
}

Problem PlanProblem(const absl::Status& status, std::string_view model) {
  return absl::IsFailedPrecondition(status) ? Make("unusable-model", std::string(Message(status)))
                                            : BackendProblem(status, model);
}

Problem HeavyProblem(const absl::Status& status) {
  return absl::IsCancelled(status) ? ClientLeft() : Overloaded(std::string(Message(status)));
}

Problem ProtocolError(int status, std::string_view text) {
  constexpr std::size_t kMaxText = 1'000;
  CHECK(IsKnown(status));
  return {status, "", Utf8Text(text, kMaxText), "", ""};
}

Problem ProtocolError(Problem problem) {
  Problem error = ProtocolError(problem.status, problem.detail);
  error.allow = std::move(problem.allow);
  error.retry_after_s = problem.retry_after_s;
  error.accept_encoding = problem.accept_encoding;
  return error;
}

std::string Members(const Problem& problem, std::string_view base_path) {
  std::string members = fmt::format(
      R"("type":{},"code":"{}","title":{},"status":{},"detail":{})",
      QuotedJson(fmt::format("{}/docs/errors#{}", base_path, problem.code)), problem.code,
      QuotedJson(Title(problem.code)), problem.status, QuotedJson(problem.detail));
  if (!problem.parameter.empty()) {
    members += fmt::format(R"(,"parameter":{})", QuotedJson(problem.parameter));
  }
  return members;
}

fcgi::Response Render(const Problem& problem, ProblemForm form, std::string_view request_id,
                      std::string_view base_path) {
  const bool has_code = !problem.code.empty();
  fcgi::Response response;
  response.status = problem.status;
  response.headers.emplace_back("Content-Type",
                                has_code ? "application/problem+json" : "application/json");
  if (!problem.allow.empty()) response.headers.emplace_back("Allow", problem.allow);
  if (!problem.accept_encoding.empty()) {
    response.headers.emplace_back("Accept-Encoding", problem.accept_encoding);
  }
  if (problem.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (problem.status == 429 || problem.status == 503) {
    response.headers.emplace_back("Retry-After", fmt::format("{}", problem.retry_after_s));
  }
  const std::string error = fmt::format(R"("error":{})", QuotedJson(problem.detail));
  if (!has_code) {
    response.body = fmt::format("{{{}}}", error);
    return response;
  }
  response.body =
      fmt::format("{{{}{},\"request_id\":{}}}\n", form == ProblemForm::kKserve ? error + "," : "",
                  Members(problem, base_path), QuotedJson(request_id));
  return response;
}

}  // namespace inferpool::http
