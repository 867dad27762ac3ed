#include "shared/base/process_tuning.h"

#include <absl/synchronization/mutex.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace inferpool {
namespace {

// Both orders, which an Abseil that looks for deadlocks takes for one, and aborts.
void LockInBothOrders() {
  absl::Mutex one;
  absl::Mutex other;
  for (absl::Mutex* first : {&one, &other}) {
    absl::Mutex* second = first == &one ? &other : &one;
    const absl::MutexLock outer(first);
    const absl::MutexLock inner(second);
  }
}

TEST(ProcessTuningTest, LocksAreNotEnteredInAGraph) {
  EXPECT_EXIT(
      {
        TuneProcess();
        LockInBothOrders();
        std::exit(EXIT_SUCCESS);
      },
      testing::ExitedWithCode(EXIT_SUCCESS), "");
}

}  // namespace
}  // namespace inferpool
