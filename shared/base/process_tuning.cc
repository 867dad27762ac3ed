#include "shared/base/process_tuning.h"

#include <absl/synchronization/mutex.h>
#include <malloc.h>

namespace inferpool {

void TuneProcess() {
  constexpr int kMebi = 1 << 20;
  // NOLINTBEGIN(concurrency-mt-unsafe): there are no threads yet
  mallopt(M_MMAP_THRESHOLD, 32 * kMebi);  // the most that glibc allows
  mallopt(M_TRIM_THRESHOLD, 256 * kMebi);
  // NOLINTEND(concurrency-mt-unsafe)
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace inferpool
