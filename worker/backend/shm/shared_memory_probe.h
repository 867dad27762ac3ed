// Asks a model server whether it takes our shared memory.
#pragma once

#include <memory>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// For one thread, after the fork. Has a segment of one page in `domain` (arena.h), which goes with
// it; if the process dies, the workers sweep it.
class SharedMemoryProbe {
 public:
  explicit SharedMemoryProbe(std::string domain) : domain_(std::move(domain)) {}

  // Registers the segment at the server and unregisters it. The errors are the server's, gRPC's,
  // and those of Arena::Create.
  absl::Status Ask(UnaryCalls& server, Deadline deadline);

 private:
  const std::string domain_;
  std::shared_ptr<Arena> arena_;  // made when it is first needed
};

}  // namespace inferpool::backend
