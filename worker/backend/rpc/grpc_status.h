// gRPC's outcomes and times as ours.
#pragma once

#include <fmt/format.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/breaker.h"

namespace inferpool::backend {

// gRPC's codes and abseil's are the same numbers. `call` names the call in the message. A call that
// the server's end cancelled is one that it cannot take now: CANCELLED is kept for our own doing.
inline absl::Status ToStatus(const grpc::Status& status, std::string_view call) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  return {code == absl::StatusCode::kCancelled ? absl::StatusCode::kUnavailable : code,
          fmt::format("{}: {}", call, status.error_message())};
}

// UNAVAILABLE until a server is set up otherwise. Its text says how, and is for clients too.
inline absl::Status NotSetUp(const std::string& text) {
  absl::Status status = absl::UnavailableError(text);
  status.SetPayload("inferpool/not-set-up", {});
  return status;
}
inline bool IsNotSetUp(const absl::Status& status) {
  return status.GetPayload("inferpool/not-set-up").has_value();
}

// gRPC takes deadlines in wall time.
inline std::chrono::system_clock::time_point WallTime(Deadline deadline) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(
             deadline.Left(Clock::now()));
}

// What a call's end says of its server. gRPC makes these codes itself for want of a connection, and
// hands a server's own ones on, and the application cannot tell them apart by status or metadata
// (1.51); but only the latter leave the channel `connected`.
inline Breaker::Outcome OutcomeOf(absl::StatusCode code, bool connected) {
  switch (code) {
    case absl::StatusCode::kCancelled:
      return Breaker::Outcome::kNothing;
    case absl::StatusCode::kDeadlineExceeded:  // perhaps the client's, which left us little time
      return Breaker::Outcome::kDoubtful;
    case absl::StatusCode::kUnavailable:
      return connected ? Breaker::Outcome::kDoubtful : Breaker::Outcome::kFailed;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return connected ? Breaker::Outcome::kAnswered : Breaker::Outcome::kFailed;
    default:
      return Breaker::Outcome::kAnswered;
  }
}

// Whether the server has surely ended its work on a call that ended so: gRPC never makes these
// codes up for a connection that broke under a request.
inline bool IsSurelyTheServers(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kResourceExhausted:
      return false;
    default:
      return true;
  }
}

}  // namespace inferpool::backend
