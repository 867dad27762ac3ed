// The HTTP statuses that workers answer with, in one table: their reason phrases, and what is
// counted.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace inferpool {

struct HttpStatus {
  int code;
  std::string_view reason;  // RFC 9110, section 15
};

// The client left before it had its answer (nginx's number for it). Nobody is ever sent it.
inline constexpr int kClientLeft = 499;

// A worker answers with no other one; the last one is what any other would count as.
inline constexpr std::array kHttpStatuses = {
    HttpStatus{200, "OK"},
    HttpStatus{400, "Bad Request"},
    HttpStatus{401, "Unauthorized"},
    HttpStatus{403, "Forbidden"},
    HttpStatus{404, "Not Found"},
    HttpStatus{405, "Method Not Allowed"},
    HttpStatus{406, "Not Acceptable"},
    HttpStatus{411, "Length Required"},
    HttpStatus{413, "Content Too Large"},
    HttpStatus{415, "Unsupported Media Type"},
    HttpStatus{422, "Unprocessable Content"},
    HttpStatus{429, "Too Many Requests"},
    HttpStatus{kClientLeft, "Client Closed Request"},
    HttpStatus{501, "Not Implemented"},
    HttpStatus{502, "Bad Gateway"},
    HttpStatus{503, "Service Unavailable"},
    HttpStatus{504, "Gateway Timeout"},
    HttpStatus{500, "Internal Server Error"},
};

// The status' place in the table.
constexpr std::size_t HttpStatusIndex(int code) {
  const auto found = std::ranges::find(kHttpStatuses, code, &HttpStatus::code);
  return found == kHttpStatuses.end() ? kHttpStatuses.size() - 1
                                      : static_cast<std::size_t>(found - kHttpStatuses.begin());
}

}  // namespace inferpool
