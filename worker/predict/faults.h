// Faults on demand, for tests of the pool: a picture that ends in "inferpool-fault:NAME" makes the
// worker that is given it misbehave. Compiled only with INFERPOOL_FAULTS; otherwise this does
// nothing at all.
//
//   crash   reads through a null pointer      abort   calls abort()
//   hang    never comes back                  leak    keeps 64 MiB
//   slow    takes 300 ms longer           spin    never comes back, and computes
//   busy    computes for 2 s of a processor's time
#pragma once

#include <string_view>

namespace inferpool::predict {

#ifdef INFERPOOL_FAULTS
void InjectFault(std::string_view picture);
#else
inline void InjectFault(std::string_view) {}
#endif

}  // namespace inferpool::predict
