#include "shared/base/resident_memory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

namespace inferpool {

long ResidentMb(pid_t pid) {
  std::ifstream statm(fmt::format("/proc/{}/statm", pid));
  long size = 0;
  long resident = 0;
  statm >> size >> resident;
  constexpr long kMb = 1024L * 1024;
  return resident * sysconf(_SC_PAGESIZE) / kMb;
}

}  // namespace inferpool
