// CHECK(condition): an invariant of our own code. If it does not hold, the process says where and
// aborts, in every build; the crash handler writes a report and the master starts another process.
// Never for input: what somebody sent is refused with an error.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace inferpool {

[[noreturn, gnu::cold]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace inferpool

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::inferpool::CheckFailed(__FILE__, __LINE__, #condition))
