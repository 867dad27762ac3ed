// gRPC's outcomes and times as ours.
#pragma once

#include <fmt/format.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <string_view>

#include "shared/deadline.h"
#include "shared/status.h"

namespace inferpool::backend {

// gRPC's codes and abseil's are the same numbers. `call` names the call in the message. A call that
// the server's end cancelled is one that it cannot take now: CANCELLED is kept for our own doing.
inline absl::Status ToStatus(const grpc::Status& status, std::string_view call) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  return {code == absl::StatusCode::kCancelled ? absl::StatusCode::kUnavailable : code,
          fmt::format("{}: {}", call, status.error_message())};
}

// gRPC takes deadlines in wall time.
inline std::chrono::system_clock::time_point WallTime(Deadline deadline) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(
             deadline.Left(Clock::now()));
}

}  // namespace inferpool::backend
