// Faults for tests of the pool: a picture that ends in "inferpool-fault:NAME" makes the worker that
// gets it misbehave. Without INFERPOOL_FAULTS the function is empty.
//
//   crash   reads through a null pointer      abort   calls abort()
//   hang    never returns                     leak    keeps 64 MiB
//   slow    takes 300 ms longer               spin    never returns, and computes
//   busy    computes for 2 s of CPU time
#pragma once

#include <string_view>

namespace inferpool::predict {

#ifdef INFERPOOL_FAULTS
void InjectFault(std::string_view picture);
#else
inline void InjectFault(std::string_view) {}
#endif

}  // namespace inferpool::predict
