// One FastCGI request and its answer, as values.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
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

  // The client's headers as nginx passes them on (HTTP_*). Names are in lower case
  // ("x-request-id"), values have no blanks around them. Do not trust them. All together they have
  // at most kMaxParameterBytes (preamble.h).
  std::vector<std::pair<std::string, std::string>> headers;
  // Returns the first header of that name, or an empty text when there is none.
  std::string_view Header(std::string_view lower_case_name) const {
    for (const auto& [name, value] : headers) {
      if (name == lower_case_name) return value;
    }
    return {};
  }

  // `body` is the whole body when `body_status` is OK. Otherwise it is empty, and the status says
  // why:
  //   FAILED_PRECONDITION  the client named no length
  //   INVALID_ARGUMENT     the length is not a number
  //   OUT_OF_RANGE         longer than the limit; nothing was read
  //   DATA_LOSS            the connection ended, or paused too long, before the body did
  //   RESOURCE_EXHAUSTED   the request waited too long for a thread, or its body found no memory
  absl::Status body_status;
  std::string_view body;

  std::chrono::microseconds queue{0};  // between nginx's hand-off and acceptance; 0 when unknown
  std::chrono::microseconds read{0};   // reading parameters and body
  TimePoint accepted;
  bool again = false;  // nginx sends it once more: a worker died on it, or none could be reached
  // Stopped when the client has disconnected and nobody waits for the answer any more.
  std::stop_token departed;

  // The memory that `body` views. A std::string would write 50 MB of zeros first. It is shared,
  // because an abandoned call to a model server may still be sending from it.
  std::shared_ptr<char[]> body_bytes;
};

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  // Called in the thread that served the request once the answer was sent, or could not be; must
  // neither wait nor throw. Empty: nothing is to be done.
  std::function<void()> sent = {};
};

}  // namespace inferpool::fcgi
