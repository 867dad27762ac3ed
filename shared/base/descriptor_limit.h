// The limit of a process's file descriptors (RLIMIT_NOFILE). Every connection and every region of
// shared memory takes one.
#pragma once

#include <cstdint>

namespace inferpool {

// How many descriptors this process may have open at once after RaiseDescriptorLimit().
std::uint64_t MaxDescriptors();

// Raises the limit to MaxDescriptors(). The usual limit of 1024 exists for select(), which we do
// not call.
void RaiseDescriptorLimit();

}  // namespace inferpool
