// Asks a model server whether it takes our shared memory.
#pragma once

#include <memory>
#include <string>

#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// For one thread, after the fork. `server` must outlive it.
class SharedMemoryProbe {
 public:
  SharedMemoryProbe(UnaryCalls& server, std::string domain)
      : server_(server), domain_(std::move(domain)) {}

  // Registers a segment of one page in `domain` (arena.h) at the server and unregisters it. The
  // errors are the server's, gRPC's, and those of Arena::Create. If the process dies meanwhile, the
  // workers sweep the segment.
  absl::Status Ask(Deadline deadline);

 private:
  UnaryCalls& server_;
  const std::string domain_;
  std::shared_ptr<Arena> arena_;  // that the server may know
};

}  // namespace inferpool::backend
