// How many processors this process may use.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace inferpool {

// Reads a whole file of the kernel's; nullopt when there is none.
using ReadKernelFile = std::function<std::optional<std::string>(const std::string& path)>;

// Returns the processors that the control groups of this process leave it: the smallest quota of
// its own group and of all groups above it that can be seen, of version 1 (cpu.cfs_quota_us) and
// version 2 (cpu.max), rounded up, as Java does. Returns nullopt when there is no quota. A group
// that cannot be seen, as in a container, is passed over; its parents that can be seen count.
//
// Pure: reads only by `read` (/proc/self/cgroup, /proc/self/mountinfo and the groups' files).
std::optional<int> ProcessorsByQuota(const ReadKernelFile& read);

// Returns how many processors this process may use: those that its affinity names, and no more than
// its control groups' quota; at least 1. Asks the kernel each time, since both may change. Thread
// safe.
int UsableProcessors();

}  // namespace inferpool
