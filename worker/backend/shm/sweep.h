// Takes away the segments of workers that are dead, and of arenas that were let go.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::backend {

struct Swept {
  int removed = 0;
  int in_use = 0;  // their owners live, or another sweep is at them
  int left = 0;    // dead, for the next sweep
};

// Looks at every segment of `domain` in /dev/shm. One without an owner is unregistered at the
// servers by `unregister`, then unlinked, with its lock held all the while: sweeps of several
// processes at once are safe. A segment that `unregister` gives an error for is left for the next
// sweep, and so are all dead ones once `deadline` is over. Blocks; meant for a background thread.
Swept SweepSegments(std::string_view domain,
                    const std::function<absl::Status(const std::string& name)>& unregister,
                    Deadline deadline);

}  // namespace inferpool::backend
