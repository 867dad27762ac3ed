// The memory that a process takes.
#pragma once

#include <sys/types.h>

namespace inferpool {

// Resident memory in MiB, shared pages included; 0 when the process is gone.
long ResidentMb(pid_t pid);

}  // namespace inferpool
