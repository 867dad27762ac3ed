// The two calls that tell a model server of a segment of shared memory, and of its end.
#pragma once

#include <cstdint>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/unary_call.h"

namespace inferpool::backend {

// The region `name` is all of the segment of that name. Errors are those of UnaryCalls::Call.
absl::Status RegisterRegion(UnaryCalls& server, const std::string& name, std::uint64_t bytes,
                            Deadline deadline);
absl::Status UnregisterRegion(UnaryCalls& server, const std::string& name, Deadline deadline);

}  // namespace inferpool::backend
