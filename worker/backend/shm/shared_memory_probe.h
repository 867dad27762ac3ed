// Asks a model server whether it takes our shared memory.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "shared/base/status.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// For one thread, after the fork. `server` must outlive it.
class SharedMemoryProbe {
 public:
  SharedMemoryProbe(UnaryCalls& server, std::string domain)
      : server_(server), domain_(std::move(domain)) {}

  // Registers a segment of one page in `domain` (arena.h) at the server, and unregisters it. Says
  // what came of the registration, for which it waits as long as a worker does (region_calls.h),
  // and as long again for the other. The errors are the server's, gRPC's, CANCELLED when `stop` was
  // requested, and those of Arena::Create. If the process dies meanwhile, the workers sweep the
  // segment.
  absl::Status Ask(const std::stop_token& stop = {});

 private:
  UnaryCalls& server_;
  const std::string domain_;
  std::shared_ptr<Arena> arena_;  // that the server may know
};

}  // namespace inferpool::backend
