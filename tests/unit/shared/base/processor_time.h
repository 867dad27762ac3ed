// What a process has done, for tests that bound it: unlike the time that passes, it does not grow
// because the machine is busy with others.
#pragma once

#include <chrono>
#include <ctime>

namespace inferpool::test {

// Of all threads of this process so far.
inline std::chrono::nanoseconds ProcessorTime() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace inferpool::test
