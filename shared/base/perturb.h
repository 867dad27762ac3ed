// Finding outputs that nobody wrote.
#pragma once

#include <cstddef>
#include <span>

namespace inferpool {

// Where the environment has glibc's MALLOC_PERTURB_ when the process first comes here, fills
// `memory` with what malloc fills new memory with then: the complement of its lowest byte.
// Otherwise does nothing. For memory that is given out without coming fresh from malloc, so that a
// test finds what is not written before it is read. Thread safe.
void Perturb(std::span<std::byte> memory);

}  // namespace inferpool
