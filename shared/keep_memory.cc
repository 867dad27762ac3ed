#include "shared/keep_memory.h"

#include <malloc.h>

namespace inferpool {

void KeepFreedMemory() {
  constexpr int kMebi = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, 32 * kMebi);  // the most that glibc allows
  mallopt(M_TRIM_THRESHOLD, 256 * kMebi);
}

}  // namespace inferpool
