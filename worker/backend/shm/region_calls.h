// The two calls that tell a model server of a segment of shared memory, and of its end.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/unary_call.h"

namespace inferpool::backend {

// For so long a server is waited for at most. One registers a region in well under a millisecond.
inline constexpr std::chrono::seconds kLongestRegistration{1};

// The region `name` is all of the segment of that name. Errors are those of UnaryCalls::Call, which
// `departed` is handed to.
absl::Status RegisterRegion(UnaryCalls& server, const std::string& name, std::uint64_t bytes,
                            Deadline deadline, const std::stop_token& departed = {});
absl::Status UnregisterRegion(UnaryCalls& server, const std::string& name, Deadline deadline,
                              const std::stop_token& departed = {});

// Whether a server that answered so may say otherwise another time. Any other error is its no.
bool MayPass(const absl::Status& status);

}  // namespace inferpool::backend
