// What goes wrong with a request, as RFC 9457 describes it to clients (application/problem+json).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fcgi/wire/request.h"
#include "shared/base/status.h"

namespace inferpool::api {

struct Problem {
  int status;
  std::string_view type;  // a word that clients may compare: "unknown-model"; has static storage
  std::string detail;     // for people: what is wrong with this request, and what is allowed
  std::string parameter;  // the parameter, or header, that is at fault; empty: none
  std::string allow;      // the Allow header of a 405
  // Of a 429 or 503. A model server that is back is found within a second
  // (worker/backend/rpc/prober.h).
  int retry_after_s = 1;
};

// The title of a problem type: always the same for a type, as the RFC asks.
std::string_view Title(std::string_view type);

// The kinds that a request can meet. `detail` is the status' message unless said otherwise.
Problem UnknownRoute(std::string_view path);
Problem MethodNotAllowed(std::string_view method, std::string_view allow);
Problem BadParameter(std::string parameter, std::string detail);
Problem BadRequest(std::string detail);
Problem NotAcceptable(std::string detail);
Problem UnsupportedMedia(std::string detail);
Problem Internal(std::string detail);
Problem Overloaded(std::string detail);
Problem Quarantined();
Problem ClientLeft();
Problem TooManyImages(std::size_t count, int most);
Problem Unauthorized(std::string detail);
Problem Forbidden(std::string detail);
Problem TooManyRequests(std::string detail, int retry_after_s);

// Request::body_status: 411, 413, 503 or 400.
Problem BodyProblem(const absl::Status& status);

// worker/vision on the uploaded picture: 415 when it is none that we decode, else 422.
Problem PictureProblem(const absl::Status& status);

// worker/backend: 404, 499, 501, 502, 503 or 504.
Problem BackendProblem(const absl::Status& status, std::string_view model);

// A problem's members as they stand in an answer, without braces: "type":"urn:...",...
std::string Members(const Problem& problem);

fcgi::Response Render(const Problem& problem, std::string_view request_id);

}  // namespace inferpool::api
