// One FastCGI request and its answer, as values.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::fcgi {

struct Request {
  std::string method;        // REQUEST_METHOD
  std::string path;          // REQUEST_URI up to '?', as the client sent it
  std::string query;         // REQUEST_URI after '?', still encoded
  std::string content_type;  // CONTENT_TYPE
  std::string client;        // REMOTE_ADDR

  // The client's headers that nginx passes on (HTTP_*), with names in lower case: "x-request-id",
  // and values without blanks around them. Not to be trusted. At most kMaxParameterBytes
  // (preamble.h) in all.
  std::vector<std::pair<std::string, std::string>> headers;
  // The first one of that name; empty when there is none.
  std::string_view Header(std::string_view lower_case_name) const {
    for (const auto& [name, value] : headers) {
      if (name == lower_case_name) return value;
    }
    return {};
  }

  // The body, whole, when `body_status` is OK. Otherwise none of it is kept, and the status says:
  //   FAILED_PRECONDITION  the client named no length
  //   INVALID_ARGUMENT     the length is not a number
  //   OUT_OF_RANGE         longer than the limit; nothing was read
  //   DATA_LOSS            the connection ended, or paused too long, before the body did
  //   RESOURCE_EXHAUSTED   the request had waited too long for a thread
  absl::Status body_status;
  std::string_view body;

  std::chrono::microseconds queue{0};  // between nginx's hand-off and acceptance; 0 when unknown
  std::chrono::microseconds read{0};   // reading parameters and body
  TimePoint accepted;
  bool again = false;  // nginx sends it once more, because a worker died on it
  // Stopped when the client has left: what is done from then on is done for nobody.
  std::stop_token departed;

  // What `body` views. Not a std::string: that would write 50 MB of zeros first. Shared, since a
  // call to a model server that was given up may still be sending from it.
  std::shared_ptr<char[]> body_bytes;
};

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

}  // namespace inferpool::fcgi
