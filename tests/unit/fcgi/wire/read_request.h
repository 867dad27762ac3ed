// A whole request, whose body is admitted.
#pragma once

#include "fcgi/wire/connection.h"

namespace inferpool::test {

inline absl::StatusOr<fcgi::Request> ReadRequest(fcgi::Connection& connection) {
  absl::StatusOr<fcgi::Request> request = connection.ReadHead();
  if (request.ok()) connection.ReadBody(*request, absl::OkStatus());
  return request;
}

}  // namespace inferpool::test
