// The end of a process of the pool.
#pragma once

namespace inferpool {

// Waits for SIGTERM. Opens the log file again whenever SIGUSR1 comes. Both signals must be blocked
// in all threads.
void AwaitTermination();

}  // namespace inferpool
