// Calls into C libraries that report errors by longjmp.
#pragma once

#include <csetjmp>
#include <type_traits>

namespace inferpool::vision {

// Runs `step`. Returns false when code in it jumped to `stop`, which ends the step at once and runs
// no destructors.
template <typename Step>
bool Attempt(std::jmp_buf& stop, const Step& step) {
  static_assert(std::is_trivially_destructible_v<Step>);
  if (setjmp(stop) != 0) return false;
  step();
  return true;
}

}  // namespace inferpool::vision
