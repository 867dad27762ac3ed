// The end of a process of the pool.
#pragma once

#include <chrono>

namespace inferpool {

// Waits for SIGTERM. Opens the log file again whenever SIGUSR1 comes. Both signals must be blocked
// in all threads.
void AwaitTermination();

// As above, for so long at most, and less when SIGUSR1 comes. Whether SIGTERM has come.
bool AwaitTermination(std::chrono::seconds longest);

}  // namespace inferpool
