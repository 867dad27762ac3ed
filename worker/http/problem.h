// What went wrong with a request, and how clients are told: as RFC 9457 asks
// (application/problem+json), and under /v2 in the form that clients of KServe look for as well.
//
// All problems of a worker are here, and only this writes them. nginx has a table of its own for
// what it refuses (nginx/inferpool.conf.in).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fcgi/wire/request.h"
#include "shared/base/status.h"

namespace inferpool::http {

struct Problem {
  int status;  // one of kHttpStatuses
  // A word that programs compare and that never changes: "unknown-model". Has static storage. Empty
  // for an error of the KServe protocol, which has no codes (ProtocolError).
  std::string_view code;
  std::string detail;     // tells people what is wrong with this request, and what is allowed
  std::string parameter;  // the parameter or header that is at fault; empty when there is none
  std::string allow;      // the Allow header of a 405
  // The Retry-After header of a 429 or 503. The worker finds a model server that is back within a
  // second (worker/backend/rpc/health_checker.h).
  int retry_after_s = 1;
  // The Accept-Encoding header of a 415 for the coding of the body: those that would do (RFC 9110,
  // section 15.5.16). Has static storage.
  std::string_view accept_encoding = "";
};

// Whether it says that the model server is away, and not that it is busy.
bool IsModelAway(const Problem& problem);

// The form in which a route tells its clients of problems.
enum class ProblemForm {
  kProblemJson,
  // The same, and the detail once more as "error", where clients of the KServe protocol look.
  kKserve,
};

// The title of a problem with this code. It is always the same, as the RFC asks.
std::string_view Title(std::string_view code);

// The problems that a request can meet.
Problem UnknownRoute(std::string_view path);
Problem MethodNotAllowed(std::string_view method, std::string_view allow);
Problem BadParameter(std::string parameter, std::string detail);
Problem BadRequest(std::string detail);
Problem NotAcceptable(std::string detail);
Problem UnsupportedMedia(std::string detail);
// A 415 for the body's Content-Encoding. `accepted` has static storage.
Problem UnsupportedCoding(std::string detail, std::string_view accepted);
Problem Internal(std::string detail);
Problem Overloaded(std::string detail);
Problem Quarantined();
Problem ClientLeft();
Problem TooManyImages(std::size_t count, int max_images);
Problem Unauthorized(std::string detail);
Problem Forbidden(std::string detail);
Problem TooManyRequests(std::string detail, int retry_after_s);
Problem UnknownCamera(std::string_view camera);
Problem NothingYet(std::string detail);
Problem StreamsAway();

// Translates Request::body_status, or the error of unpacking a body: 400, 411, 413, 415, 499, 503
// or 504. The detail is the status' message.
Problem BodyProblem(const absl::Status& status);

// Translates an error of the picture decoders about an uploaded picture: 415 when it has no format
// that they know, otherwise 422. The detail is the status' message.
Problem PictureProblem(const absl::Status& status);

// Translates an error of worker/backend: 404, 499, 501, 502, 503 or 504.
Problem BackendProblem(const absl::Status& status, std::string_view model);

// Translates an error of a model's plan, or of what it makes of an answer: FAILED_PRECONDITION says
// that the model as it is described cannot be used, so 501; anything else is as above.
Problem PlanProblem(const absl::Status& status, std::string_view model);

// Translates the error of beginning a heavy step (HeavySteps::Begin): 499 or 503.
Problem HeavyProblem(const absl::Status& status);

// An error of the KServe protocol: it consists of a status and a text, and is written as
// {"error":"..."} in either form. The text is cut to 1,000 bytes, since it may quote what the
// client sent.
Problem ProtocolError(int status, std::string_view text);

// The same with everything that `problem` has besides its code.
Problem ProtocolError(Problem problem);

// A problem's members as they stand in an answer, without braces:
// "type":"/docs/errors#bad-picture","code":"bad-picture",... The type is the address of what the
// documentation says about the code; `base_path` is where clients find our pages, such as
// "/vision", or empty.
std::string Members(const Problem& problem, std::string_view base_path);

// The problem as an answer.
fcgi::Response Render(const Problem& problem, ProblemForm form, std::string_view request_id,
                      std::string_view base_path);

}  // namespace inferpool::http
